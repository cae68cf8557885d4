"""An attention head's address, printed the way the field prints it: layer.index, as in 9.9."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor


class Head(NamedTuple):
    """Head `index` of `layer`. A plain pair, so it indexes a [layer head ...] tensor directly: `scores[head]`."""

    layer: int
    index: int

    def __str__(self) -> str:
        return f"{self.layer}.{self.index}"

    @classmethod
    def parse(cls, text: str) -> Head:
        """The head written as "9.9"."""
        if not re.fullmatch(r"\d+\.\d+", text):
            raise ValueError(f"{text!r} is not a head: write layer.index, as in 9.9")
        layer, index = text.split(".")
        return cls(int(layer), int(index))


def heads(text: str) -> tuple[Head, ...]:
    """The heads written as "9.9 9.6 10.0", in that order."""
    return tuple(Head.parse(word) for word in text.split())


def select(values: Tensor, chosen: Iterable[Head]) -> Tensor:
    """The rows of `values` [layer head ...] that belong to `chosen`, in that order. [chosen ...]"""
    return torch.stack([values[head] for head in chosen])


def without(values: Tensor, left_out: Iterable[Head]) -> Tensor:
    """The rows of `values` [layer head ...] of all heads but `left_out`, in order of address. [others ...]"""
    others = torch.ones(values.shape[:2], dtype=torch.bool)
    for head in left_out:
        others[head] = False
    return values[others.to(values.device)]
