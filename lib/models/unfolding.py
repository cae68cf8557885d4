"""Processed weights as the modules of `transformers` hold them: those modules then compute what `Weights` says.

The inverse of what `checkpoint` and `folding` do to names and layouts, and not of the processing: norms are left with
nothing but their scale, a map that had no bias may have one now, and the unembedding is tied to nothing. Out of scope:
building the model (`backends`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from einops import rearrange
from torch import Tensor

from lib.models.activations import Weights
from lib.models.checkpoint import Checkpoint
from lib.models.folding import FUSED

NORMS = {"norm_1": None, "norm_2": None, "norm_final": None, "post_1": "post_attention", "post_2": "post_mlp"}
NORMS |= {"q_norm": "q_norm", "k_norm": "k_norm"}  # which of Weights is its gain, if any is left


def module_tensors(weights: Weights, checkpoint: Checkpoint) -> Mapping[str, Tensor]:
    """Every parameter of the model that `checkpoint` holds, by its name there, as its processed `weights` have it.

    They share no memory with these. A bias that is zero is given where the family has one, and only there.
    """
    family = checkpoint.family
    found: dict[str, Tensor] = {}

    def put(part: str, layer: int, weight: Tensor, bias: Tensor | None = None) -> None:
        place = family.head if part == "head" else family.prefix + family.parts[part].format(layer)
        found[f"{place}.weight"] = weight.clone(memory_format=torch.contiguous_format)
        if bias is not None and (part in family.biases(checkpoint.config) or bias.any()):
            found[f"{place}.bias"] = bias.clone(memory_format=torch.contiguous_format)

    factor = family.embedding_scale(checkpoint.config)
    put("embed", 0, weights.W_E if factor == 1 else weights.W_E / factor)
    if weights.W_pos is not None:
        before = weights.W_pos.new_zeros(family.position_offset, weights.d_model)  # of padding, which nobody reads
        put("positions", 0, torch.cat([before, weights.W_pos]))
    put("head", 0, weights.W_U.T, weights.b_U)
    for part in NORMS.keys() & family.parts.keys():
        for layer in range(weights.n_layers if "{}" in family.parts[part] else 1):
            put(part, layer, *_norm(weights, part, layer, family.gain_offset))
    for layer in range(weights.n_layers):
        for part, weight, bias in _linear(weights, layer, fused=family.fused):
            put(part, layer, weight if family.transposed else weight.T, bias)
    return found


def _norm(weights: Weights, part: str, layer: int, offset: float) -> tuple[Tensor, Tensor]:
    """A norm's weight, which with the family's offset is its gain, and a bias of zeros."""
    gain = getattr(weights, NORMS[part])[layer] if NORMS[part] else torch.ones_like(weights.b_O[0])
    return gain - offset, torch.zeros_like(gain)


def _linear(weights: Weights, layer: int, *, fused: str) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Each linear map of a layer: its part, its weight [in out] and its bias [out]."""
    maps = {site: getattr(weights, f"W_{site.upper()}")[layer] for site in "qkv"}  # head d_model d_head
    biases = {site: getattr(weights, f"b_{site.upper()}")[layer] for site in "qkv"}  # head d_head
    if fused:
        side_by_side = f"qkv head m h -> m {FUSED[fused]}"
        bias = rearrange(torch.stack([*biases.values()])[:, :, None], side_by_side)[0]
        yield "qkv", rearrange(torch.stack([*maps.values()]), side_by_side), bias
    else:
        yield from ((site, rearrange(maps[site], "head m h -> m (head h)"), biases[site].flatten()) for site in "qkv")
    yield "o", weights.W_O[layer].flatten(0, 1), weights.b_O[layer]
    yield "in", weights.W_in[layer], weights.b_in[layer]
    yield "out", weights.W_out[layer], weights.b_out[layer]
    if weights.W_gate is not None:
        yield "gate", weights.W_gate[layer], torch.zeros_like(weights.b_in[layer])
