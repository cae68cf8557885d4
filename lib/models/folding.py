"""Processing a checkpoint's weights without a hooking library, step by step as the library does it.

A norm's gain (and bias) is folded into what reads the residual stream through it. Where norms are LayerNorms, which
subtract the mean, what reads the stream and what writes to it is centred. Value biases are folded into b_O; the
unembedding's mean over tokens, which no softmax sees, is taken out, unless logits are capped, since a cap sees it
(TransformerLens, process_weights). Factors of embeddings and of a GPT-2's queries are multiplied into those, so that
nothing that computes from processed weights has to know of them.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from einops import einsum, rearrange
from torch import Tensor

from lib.models.activations import Weights, computed_in
from lib.models.checkpoint import Checkpoint
from lib.models.config import CannotLoad

# What is asked of the hooking library, by the names of its own switches, since its defaults might change.
PROCESSING = {
    "fold_ln": True,
    "center_writing_weights": True,
    "center_unembed": True,
    "fold_value_biases": True,
    "refactor_factored_attn_matrices": False,
}
FUSED = {"thirds": "(qkv head h)", "by head": "(head qkv h)"}  # the columns of a map that holds q, k and v


def fold_attention(checkpoint: Checkpoint, dtype: torch.dtype) -> dict[str, Tensor]:
    """Attention's part of `Weights`, by name, in `dtype` whatever the checkpoint is stored in.

    Raises CannotLoad where a tensor of attention itself is missing.
    """
    absent = checkpoint.missing_attention()
    if absent:
        raise CannotLoad(
            f"{checkpoint.directory} lacks {len(absent)} attention tensors, {absent[0]} first: save the checkpoint "
            "with every layer's attention and the norm before it"
        )
    layers = [_attention(checkpoint, layer, dtype) for layer in range(checkpoint.architecture.n_layers)]
    return {name: torch.stack([layer[name] for layer in layers]) for name in layers[0]}


def _attention(checkpoint: Checkpoint, layer: int, kept_in: torch.dtype) -> dict[str, Tensor]:
    dtype, family = computed_in(kept_in), checkpoint.family
    heads, d_head = checkpoint.architecture.n_heads, checkpoint.architecture.d_head
    maps = _queries_keys_values(checkpoint, layer, dtype)
    read = [_through_norm(checkpoint, "norm_1", layer, weight, bias) for weight, bias in maps]
    W_Q, W_K, W_V = (rearrange(weight, "m (head h) -> head m h", h=d_head) for weight, _ in read)
    b_Q, b_K, b_V = (rearrange(bias, "(head h) -> head h", h=d_head) for _, bias in read)
    weight, bias = _map(checkpoint, "o", layer, dtype)
    W_O = rearrange(_written(checkpoint, weight), "(head h) m -> head h m", head=heads)
    values = b_V.repeat_interleave(checkpoint.architecture.group, 0)
    b_O = _written(checkpoint, bias) + einsum(values, W_O, "head d_head, head d_head d_model -> d_model")
    folded = {"W_Q": W_Q, "W_K": W_K, "W_V": W_V, "W_O": W_O, "b_Q": b_Q, "b_K": b_K, "b_V": torch.zeros_like(b_V)}
    folded["b_O"] = b_O
    if checkpoint.architecture.post_norms:
        folded["post_attention"] = checkpoint.weight("post_1", dtype, layer)
    if family.query_factors:
        factor = family.query_factors(checkpoint.config)[layer]
        folded["W_Q"], folded["b_Q"] = folded["W_Q"] * factor, folded["b_Q"] * factor
    return {name: tensor.to(kept_in) for name, tensor in folded.items()}


def fold(checkpoint: Checkpoint, dtype: torch.dtype) -> Weights:
    """All weights, in `dtype`. Those of bfloat16 and float16 are computed in float32, and rounded once.

    Raises CannotLoad where a tensor is missing.
    """
    absent = checkpoint.missing()
    if absent:
        raise CannotLoad(f"{checkpoint.directory} lacks {len(absent)} tensors, {absent[0]} first: save the whole model")
    family, architecture = checkpoint.family, checkpoint.architecture
    layers, wide = range(architecture.n_layers), computed_in(dtype)

    def stacked(part: str) -> Tensor:
        return torch.stack([checkpoint.weight(part, wide, layer).to(dtype) for layer in layers])

    def by_layer(map_of: Callable[[int], tuple[Tensor, Tensor]]) -> tuple[Tensor, ...]:
        maps = [[tensor.to(dtype) for tensor in map_of(layer)] for layer in layers]
        return tuple(map(torch.stack, zip(*maps, strict=True)))

    def reading(part: str) -> tuple[Tensor, ...]:
        return by_layer(lambda layer: _through_norm(checkpoint, "norm_2", layer, *_map(checkpoint, part, layer, wide)))

    W_in, b_in = reading("in")
    W_out, b_out = by_layer(
        lambda layer: tuple(_written(checkpoint, tensor) for tensor in _map(checkpoint, "out", layer, wide))
    )
    W_U, b_U = _through_norm(checkpoint, "norm_final", 0, *_unembedding(checkpoint, wide))
    if architecture.final_cap is None:
        W_U, b_U = _centred(W_U), _centred(b_U)
    embedded = checkpoint.weight("embed", wide) * family.embedding_scale(checkpoint.config)
    positions = checkpoint.weight("positions", wide)[family.position_offset :] if "positions" in family.parts else None
    optional = {
        "W_pos": None if positions is None else _written(checkpoint, positions).to(dtype),
        "W_gate": reading("gate")[0] if architecture.gated else None,
        "post_mlp": stacked("post_2") if architecture.post_norms else None,
        "q_norm": stacked("q_norm") if architecture.qk_norm else None,
        "k_norm": stacked("k_norm") if architecture.qk_norm else None,
    }
    return Weights(
        architecture=architecture,
        W_E=_written(checkpoint, embedded).to(dtype),
        **fold_attention(checkpoint, dtype),
        W_in=W_in,
        b_in=b_in,
        W_out=W_out,
        b_out=b_out,
        W_U=W_U.to(dtype),
        b_U=b_U.to(dtype),
        **optional,
    )


def _map(checkpoint: Checkpoint, part: str, layer: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """A linear map's weight [in out] and bias [out], zeros where it has none."""
    weight, bias = checkpoint.weight(part, dtype, layer), checkpoint.bias(part, dtype, layer)
    return weight, weight.new_zeros(weight.shape[1]) if bias is None else bias


def _queries_keys_values(checkpoint: Checkpoint, layer: int, dtype: torch.dtype) -> list[tuple[Tensor, Tensor]]:
    """The three maps that read a head's inputs, however they are stored. Each [d_model (head d_head)], and a bias."""
    fused = checkpoint.family.fused
    if not fused:
        return [_map(checkpoint, part, layer, dtype) for part in "qkv"]
    weight, bias = _map(checkpoint, "qkv", layer, dtype)
    sizes = {"qkv": 3, "head": checkpoint.architecture.n_heads}
    # The bias is one more row.
    both = rearrange(torch.cat([weight, bias[None]]), f"m {FUSED[fused]} -> qkv m (head h)", **sizes)
    return [(one[:-1], one[-1]) for one in both]


def _unembedding(checkpoint: Checkpoint, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    W_U, bias = checkpoint.unembedding(dtype).T, checkpoint.bias("head", dtype)
    return W_U, W_U.new_zeros(W_U.shape[1]) if bias is None else bias


def _through_norm(checkpoint: Checkpoint, norm: str, layer: int, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """A map [d_model out] and its bias as they read a stream that is normalised and nothing more."""
    gain, shift = (read(norm, weight.dtype, layer) for read in (checkpoint.weight, checkpoint.bias))
    if shift is not None:
        bias = bias + shift @ weight
    weight = weight * gain[:, None]
    return (_centred(weight, 0) if checkpoint.architecture.norm == "LayerNorm" else weight), bias


def _written(checkpoint: Checkpoint, tensor: Tensor) -> Tensor:
    """What writes to the stream [... d_model], without the mean where every norm subtracts that."""
    return _centred(tensor) if checkpoint.architecture.norm == "LayerNorm" else tensor


def _centred(tensor: Tensor, axis: int = -1) -> Tensor:
    return tensor - tensor.mean(axis, keepdim=True)
