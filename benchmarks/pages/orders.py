"""A pytest plugin under which matrix products add up in another order, as they do on another processor.

`ORDER_OF_SUMS=backwards pytest -p benchmarks.pages.orders ...`, or `shuffled`: the products that make up one number are
handed to the library in that order. What its instructions do with them differs from machine to machine; that the order
is another one does not, so this imitates other processors on any processor.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

VARIABLE = "ORDER_OF_SUMS"
# Operators that multiply matrices, and which of their arguments the two factors are.
PRODUCTS = {"mm": (0, 1), "bmm": (0, 1), "addmm": (1, 2), "baddbmm": (1, 2), "linear": (0, 1), "matmul": (0, 1)}


def backwards(n: int, device: torch.device) -> Tensor:
    return torch.arange(n - 1, -1, -1, device=device)


def shuffled(n: int, device: torch.device) -> Tensor:
    """The same order in every run."""
    return torch.randperm(n, generator=torch.Generator("cpu").manual_seed(1), device="cpu").to(device)


ORDERS = {"backwards": backwards, "shuffled": shuffled}


class OtherOrder(TorchDispatchMode):
    """While it is entered, products of matrices add up in an order of ORDERS."""

    def __init__(self, order: str) -> None:
        super().__init__()
        self.order = ORDERS[order]

    def __torch_dispatch__(self, func: Callable, types: object, args: tuple = (), kwargs: dict | None = None) -> object:
        name = func.overloadpacket.__name__
        if name in ("mm", "bmm", "addmm", "baddbmm"):
            left, right = PRODUCTS[name]
            order = self.order(args[left].shape[-1], args[left].device)
            changed = {left: args[left][..., order], right: args[right][..., order, :]}
            args = tuple(changed.get(i, arg) for i, arg in enumerate(args))
        return func(*args, **(kwargs or {}))


def pytest_configure(config: pytest.Config) -> None:
    mode = OtherOrder(os.environ[VARIABLE])
    mode.__enter__()
    config.add_cleanup(lambda: mode.__exit__(None, None, None))
