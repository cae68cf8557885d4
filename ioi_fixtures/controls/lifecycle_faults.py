"""Incidents of hooks that stay too long or not long enough, recreated on the installed hooking library (see faults.py).

Each returns a model, and where the fault shows only afterwards, what to do with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest
import torch
from transformer_lens.model_bridge import TransformerBridge

from lib.models.model import Edit, Model

Load = Callable[[], Model]
Patch = pytest.MonkeyPatch
Hooks = list[tuple[str, Callable]]
TOKENS, LAST = torch.tensor([[1, 2, 3]]), torch.tensor([2])


def backward_hook_leaks(patch: Patch, load: Load) -> tuple[Model, Callable]:
    """A backward hook is still there after the context that added it has ended."""
    model, original = load(), TransformerBridge.hooks

    @contextmanager
    def hooks(self: TransformerBridge, fwd_hooks: Hooks) -> Iterator[None]:
        with original(self, fwd_hooks=fwd_hooks):
            yield
        self.hook_dict["blocks.0.attn.hook_z"].add_hook(lambda gradient, hook: None, dir="bwd")

    patch.setattr(TransformerBridge, "hooks", hooks)
    return model, lambda: model.run(TOKENS, last=LAST, keep=["z"])


def hooks_outlive_an_exception(patch: Patch, load: Load) -> tuple[Model, Callable]:
    """Where the forward pass raises, the hooks stay."""
    model, original, entered = load(), TransformerBridge.hooks, []

    @contextmanager
    def hooks(self: TransformerBridge, fwd_hooks: Hooks) -> Iterator[None]:
        entered.append(original(self, fwd_hooks=fwd_hooks))  # kept: a generator that is collected ends its context
        entered[-1].__enter__()
        yield
        entered[-1].__exit__(None, None, None)

    def use() -> None:
        with suppress(ZeroDivisionError):
            model.run(TOKENS, last=LAST, edits=[Edit("z", 1, lambda z: z), Edit("z", 1, lambda z: 1 // 0)])

    patch.setattr(TransformerBridge, "hooks", hooks)
    return model, use


def hook_never_removed(patch: Patch, load: Load) -> tuple[Model, Callable]:
    """add_hook returns nothing to remove the hook by."""
    model = load()
    return model, lambda: model.backend.library_model.add_hook("blocks.1.attn.hook_z", lambda z, hook: z)


def helper_removes_every_hook(patch: Patch, load: Load) -> Model:
    """Something that runs within the context takes all hooks away, not only its own."""
    model, original = load(), TransformerBridge.hooks

    @contextmanager
    def hooks(self: TransformerBridge, fwd_hooks: Hooks) -> Iterator[None]:
        with original(self, fwd_hooks=fwd_hooks):
            self.reset_hooks()
            yield

    patch.setattr(TransformerBridge, "hooks", hooks)
    return model
