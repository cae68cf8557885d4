"""Whether a model is as it was when it was loaded, and if it is not, what was touched.

Three questions, in this order. Does the same input give the same logits twice? Else no comparison means anything. Are
hooks, weights and settings those there were? They cost no forward pass. Are the logits, bit for bit? They see what is
not counted: writes past torch's counters, code that was patched. Out of scope: undoing it.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lib.one_line import first_of

if TYPE_CHECKING:
    from lib.models.model import Model

IN_TRAINING = "modules in training mode"
NAMED = 3  # at the most: a claim that scales every matrix has one fault and not two hundred


@dataclass(frozen=True)
class Traces:
    """What can be counted without a forward pass."""

    hooks: Mapping[str, int]  # hook points with hooks, and how many
    writes: Mapping[str, tuple[int, int]]  # each tensor's place in memory, and how often it was written to
    settings: Mapping[str, object]  # of the model and of torch, by name

    @classmethod
    def of(cls, hooks: Mapping[str, int], tensors: Mapping[str, Tensor], settings: Mapping[str, object]) -> Traces:
        """Those of a model; settings are the model's own, and torch's are added."""
        counted = {name: number for name, number in hooks.items() if number}
        writes = {name: (tensor.data_ptr(), tensor._version) for name, tensor in tensors.items()}
        return cls(counted, writes, {**settings, **_settings_of_torch()})

    def since(self, before: Traces) -> str:
        """What is not as it was before, in words; empty where nothing is."""
        hooks, writes = _differing(self.hooks, before.hooks), _differing(self.writes, before.writes)
        changes = _differing(self.settings, before.settings)
        settings = [f"{name} {before.settings.get(name)!r} -> {self.settings.get(name)!r}" for name in changes]
        said = {"hooks at": hooks, "writes to": writes, "other settings:": settings}
        return " and ".join(f"{words} {first_of(names, NAMED)}" for words, names in said.items() if names)


def plain_settings(config: object, name: str) -> dict[str, object]:
    """What an object of settings holds that can be compared: numbers, words, and what is on or off."""
    return {f"{name}.{key}": value for key, value in vars(config).items() if _is_plain(value)}


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, bool | int | float | str)


@dataclass(frozen=True, eq=False)
class State:
    """A model as it was at one time."""

    logits: Tensor  # of the probe prompt. [1 d_vocab]
    traces: Traces
    sums: Mapping[str, int]  # checksum of each tensor
    changed_after: list[str] = field(
        default_factory=list
    )  # whoever finds a change says after what; the first is to blame


def state_of(model: Model) -> State:
    """The model as it is. Raises RuntimeError where it gives other logits when it is asked the same again."""
    first, again = model.probe(), model.probe()
    if not torch.equal(first, again):
        raise RuntimeError(_unsteady(model, first, again))
    return State(first, model.traces(), _sums(model))


def changed_since(model: Model, before: State, *, ask: bool) -> str:
    """What is to be said of the model where it is not as it was before; empty where it is. ask: run it, too."""
    touched = model.traces().since(before.traces)
    if touched:
        return f"{model} is not as it was when it was loaded ({touched}): undo what was done to it"
    if not ask:
        return ""
    now, again = model.probe(), model.probe()
    if not torch.equal(now, again):
        return _unsteady(model, now, again)
    if torch.equal(now, before.logits):
        return ""
    rewritten = first_of(_differing(_sums(model), before.sums), NAMED)
    if rewritten:
        return f"{model} is not as it was when it was loaded (other numbers in {rewritten}): undo what was done"
    return (
        f"the logits of {model} on a probe prompt {_apart(before.logits, now)} what they were when it was loaded, "
        "although it has no other hooks, weights or settings: look for code that was patched, in torch or in the "
        "hooking library, or, where that is the size of rounding, for a kernel that adds up in another order"
    )


def _unsteady(model: Model, first: Tensor, again: Tensor) -> str:
    training = model.traces().settings.get(IN_TRAINING)
    if training:
        remedy = f"{training} of its modules are in training mode, where dropout is on: call eval()"
    else:
        remedy = (
            "look for dropout or a hook that draws at random, or, where that is the size of rounding, for an unsteady "
            "kernel (torch.use_deterministic_algorithms)"
        )
    return (
        f"{model} is not deterministic: asked the same again, its logits {_apart(first, again)} what they were, so no "
        f"figure of it can be trusted; {remedy}"
    )


def _apart(mine: Tensor, other: Tensor) -> str:
    return f"are up to {float((mine - other).abs().max()):.1e} from"


def _settings_of_torch() -> dict[str, object]:
    return {
        "torch.get_num_threads()": torch.get_num_threads(),
        "torch.get_float32_matmul_precision()": torch.get_float32_matmul_precision(),
        "torch.get_default_dtype()": torch.get_default_dtype(),
    }


def _sums(model: Model) -> dict[str, int]:
    return {name: zlib.crc32(_bytes(tensor)) for name, tensor in model.backend.tensors().items()}


def _bytes(tensor: Tensor) -> memoryview:
    return tensor.detach().cpu().contiguous().view(torch.uint8).numpy().data


def _differing(now: Mapping[str, object], before: Mapping[str, object]) -> list[str]:
    return [name for name in {**before, **now} if now.get(name) != before.get(name)]
