"""Incidents recreated on the installed hooking library: each fault patches what the library does, and nothing of ours.

FAULTS has one entry a row of docs/incidents.toml. A fault is given `load`, which loads a small model, and returns the
model as it then is; faults that show only in use come as a pair: the model, and what to do with it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge
from transformers.activations import NewGELUActivation

from ioi_fixtures.controls.lifecycle_faults import (
    backward_hook_leaks,
    helper_removes_every_hook,
    hook_never_removed,
    hooks_outlive_an_exception,
)
from lib.models.checkpoint import Checkpoint
from lib.models.model import Model

Load = Callable[[], Model]
Patch = pytest.MonkeyPatch
Hooks = list[tuple[str, Callable]]
LAYERS = 3


def _with_hooks(change: Callable[[str, Callable], Hooks], patch: Patch, load: Load) -> Model:
    """Every hook that is added becomes the hooks that `change` makes of it."""
    original = TransformerBridge.hooks

    def hooks(self: TransformerBridge, fwd_hooks: Hooks) -> object:
        return original(self, fwd_hooks=[new for name, hook in fwd_hooks for new in change(name, hook)])

    model = load()
    patch.setattr(TransformerBridge, "hooks", hooks)
    return model


def moved(old: str, new: str) -> Callable:
    """The hook of one name sits where another is."""
    return partial(_with_hooks, lambda name, hook: [(re.sub(old, new, name), hook)])


def skipped(site: str) -> Callable:
    """Hooks of this name are never called."""
    return partial(_with_hooks, lambda name, hook: [] if site in name else [(name, hook)])


def reported(site: str, change: Callable[[Tensor], Tensor]) -> Callable:
    """Hooks of this name are handed something else than what the model computes with."""

    def spoil(name: str, hook: Callable) -> Hooks:
        return [(name, lambda x, hook=None, call=hook: call(change(x), hook) if site in name else call(x, hook))]

    return partial(_with_hooks, spoil)


def edits_become(site: str, change: Callable[[Tensor, Tensor], Tensor | None]) -> Callable:
    """What a hook of this name returns is changed, from (activation, returned)."""

    def spoil(name: str, hook: Callable) -> Hooks:
        def wrapped(x: Tensor, hook: object, call: Callable = hook) -> Tensor | None:
            new = call(x, hook)
            return new if new is None or site not in name else change(x, new)

        return [(name, wrapped)]

    return partial(_with_hooks, spoil)


def scores_become(change: Callable[[Tensor], Tensor]) -> Callable:
    """The attention scores that the library computes with are others, in every layer of every forward pass."""

    def fault(patch: Patch, load: Load) -> Model:
        original = TransformerBridge.hooks

        def hooks(self: TransformerBridge, fwd_hooks: Hooks) -> object:
            names = [f"blocks.{layer}.attn.hook_attn_scores" for layer in range(LAYERS)]
            return original(self, fwd_hooks=[*((name, lambda x, hook: change(x)) for name in names), *fwd_hooks])

        model = load()
        patch.setattr(TransformerBridge, "hooks", hooks)
        return model

    return fault


def unmasked(value: float) -> Callable[[Tensor], Tensor]:
    """Scores whose masked entries are a finite number."""
    return lambda scores: torch.where(scores < -1e4, value, scores)


def tokens_become(change: Callable[[Tensor], Tensor]) -> Callable:
    """The library runs other tokens than it was given."""

    def fault(patch: Patch, load: Load) -> Model:
        original = TransformerBridge.forward

        def forward(self: TransformerBridge, tokens: Tensor, **rest: object) -> Tensor:
            return original(self, change(tokens), **{**rest, "attention_mask": torch.ones_like(change(tokens))})

        model = load()
        patch.setattr(TransformerBridge, "forward", forward)
        return model

    return fault


def padded_left(tokens: Tensor) -> Tensor:
    """Zeros at the end of each row moved to its start."""
    zeros = [int((row != 0).nonzero().max()) + 1 - len(row) for row in tokens]
    return torch.stack([row.roll(-shift) for row, shift in zip(tokens, zeros, strict=True)])


def processed(**flags: bool) -> Callable:
    """Weights are processed with other flags than the ones that were asked for."""

    def fault(patch: Patch, load: Load) -> Model:
        original = TransformerBridge.enable_compatibility_mode
        patch.setattr(
            TransformerBridge, "enable_compatibility_mode", lambda self, **given: original(self, **{**given, **flags})
        )
        return load()

    return fault


def folded_twice(patch: Patch, load: Load) -> Model:
    """LayerNorm's gain is folded into q, k and v a second time."""
    original = TransformerBridge.enable_compatibility_mode

    def twice(self: TransformerBridge, **given: object) -> None:
        stored = {name: weight.clone() for name, weight in self.original_model.named_parameters()}
        original(self, **given)
        for (layer, _), weight in _projections(self).items():
            [gain] = [
                stored[name]
                for name in stored
                if f".h.{layer}." in name and name.endswith("ln_1._original_component.weight")
            ]
            weight.mul_(gain)

    patch.setattr(TransformerBridge, "enable_compatibility_mode", torch.no_grad()(twice))
    return load()


def stale_projections(patch: Patch, load: Load) -> Model:
    """The forward pass reads q, k and v with the joint matrix as it was before LayerNorm was folded in."""
    model = load()
    stored = Checkpoint(model.directory).stack("attn.c_attn.weight", model.dtype)
    with torch.no_grad():
        for (layer, which), weight in _projections(model.backend.library_model).items():
            weight.copy_(stored[layer].chunk(3, -1)["qkv".index(which)].T)
    return model


def _projections(bridge: TransformerBridge) -> dict[tuple[int, str], Tensor]:
    pattern = re.compile(r"\.h\.(\d+)\..*\.attn\.([qkv])\._original_component\.weight$")
    found = ((pattern.search(name), weight) for name, weight in bridge.original_model.named_parameters())
    return {(int(match[1]), match[2]): weight for match, weight in found if match}


def shifted_positions(patch: Patch, load: Load) -> Model:
    """Every token gets the position embedding of the position before its own."""
    model = load()
    named = model.backend.library_model.original_model.named_parameters()
    [positions] = [weight for name, weight in named if "wpe" in name]
    with torch.no_grad():
        positions.copy_(positions.roll(1, 0))
    return model


def negated_unembedding(patch: Patch, load: Load) -> Model:
    """F.linear gives a wrong result for one shape alone, the unembedding's."""
    model, original = load(), torch.nn.functional.linear
    d_vocab = model.weights.W_U.shape[1]

    def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        return original(-x if len(weight) == d_vocab else x, weight, bias)

    patch.setattr(torch.nn.functional, "linear", linear)
    return model


def tf32(patch: Patch, load: Load) -> Model:
    """Factors of float32 products are rounded to TF32's ten bits of mantissa."""
    model, addmm, linear = load(), torch.addmm, torch.nn.functional.linear

    def rounded(x: Tensor) -> Tensor:
        return (x.view(torch.int32) + 0x1000 & ~0x1FFF).view(torch.float32) if x.dtype == torch.float32 else x

    patch.setattr(torch, "addmm", lambda bias, x, y: addmm(bias, rounded(x.contiguous()), rounded(y.contiguous())))
    patch.setattr(
        torch.nn.functional,
        "linear",
        lambda x, weight, bias=None: linear(rounded(x.contiguous()), rounded(weight.contiguous()), bias),
    )
    return model


def exact_gelu(patch: Patch, load: Load) -> Model:
    """The MLPs' non-linearity is the exact GELU, not GPT-2's approximation."""
    patch.setattr(NewGELUActivation, "forward", lambda self, x: torch.nn.functional.gelu(x))
    return load()


def patched_afterwards(patch: Patch, load: Load) -> tuple[Model, Callable]:
    """Something else in the process patches the non-linearity of every model."""
    return load(), lambda: exact_gelu(patch, lambda: None)


FAULTS: dict[str, Callable] = {
    "1": moved(r"hook_resid_pre$", "ln1.hook_out"),
    "2": edits_become("hook_scale", lambda x, new: None),
    "3": edits_become("hook_pattern", lambda x, new: None),
    "4": skipped(".attn."),
    "5": reported("hook_z", lambda z: z.sum(2, keepdim=True).expand_as(z)),
    "6": reported("hook_z", lambda z: z.flatten(2)),
    "8": moved(r"ln_final\.hook_scale", f"blocks.{LAYERS - 1}.ln2.hook_scale"),
    "9": processed(fold_value_biases=False),
    "10": reported("hook_attn_out", lambda x: 0.5 * x),
    "11": skipped("hook_pattern"),
    "12": backward_hook_leaks,
    "13": helper_removes_every_hook,
    "14": hooks_outlive_an_exception,
    "15": hook_never_removed,
    "16": folded_twice,
    "19": stale_projections,
    "20": scores_become(unmasked(0.0)),
    "21": processed(fold_ln=False),
    "23": processed(no_processing=True),
    "24": negated_unembedding,
    "25": tf32,
    "26": scores_become(lambda scores: scores * 8**0.5),
    "27": exact_gelu,
    "27 (TL#385)": scores_become(unmasked(-10.0)),
    "30": tokens_become(lambda tokens: torch.cat([torch.zeros_like(tokens[:, :1]), tokens], 1)),
    "31": shifted_positions,
    "32": tokens_become(padded_left),
    "33": tokens_become(lambda tokens: tokens[:, 1:]),
    "37": edits_become("", lambda x, new: torch.cat([new[:1], x[1:]])),
    "38": reported("hook_z", lambda z: z.roll(1, 2)),
    "39": patched_afterwards,
    "40": reported("hook_z", torch.zeros_like),
}
