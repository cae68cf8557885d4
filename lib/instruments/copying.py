"""Copy scores: does a head, attending to a token, raise that token's own logit above nearly all others?

Two published definitions differ in what the head is given to read. Wang et al. 2022, §3.1, take the residual stream
after the first block at the tokens' positions; the name-list definition takes token embeddings and the first MLP alone.
Both are `copy_hits` on another `resid`. The authors' code adds the head's value bias, the name list's does not. Value
biases are folded into b_O here and left out, so the authors' score of a model that is not folded may be another.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

import torch
from torch import Tensor

from lib.models.activations import Weights
from lib.models.forward import Block, add_mlp_, norm_scale
from lib.models.heads import Head


def embedding_after_first_mlp(weights: Weights, tokens: Tensor, *, dtype: torch.dtype | None = None) -> Tensor:
    """Embedding of `tokens` [n] plus what the first MLP adds to it, without position or attention. [n d_model]

    dtype: the number type to compute in; what the weights are computed with where it is not given.
    """
    dtype = dtype or weights.computes_in
    resid = weights.W_E[tokens].to(dtype)
    add_mlp_(resid, Block.of(weights, 0).to(dtype), weights, resid.clone())
    return resid


def copy_hits(weights: Weights, head: Head, resid: Tensor, tokens: Tensor, *, top: int = 5, sign: int = 1) -> Tensor:
    """Whether each token is among the `top` logits of the head's output when it reads `resid` alone. bool [...]

    resid: [... d_model], what the head attends to; tokens: [...], the tokens that stand there. sign = -1 flips the
    head's output (before b_U is added), which turns a head that suppresses what it attends to into one that copies it.
    The LayerNorm before the head is left out: it rescales a centred `resid` and nothing else, and the final one undoes
    that, but for outputs so small that the norm's epsilon counts beside their variance.
    """
    if sign not in (1, -1):
        raise ValueError(f"sign is {sign}: use 1, or -1 for a head that suppresses what it attends to")
    return _among_top(sign * _written(weights, head, resid, weights.W_U.to(resid)) + weights.b_U, tokens, top)


def copy_hits_of_all(weights: Weights, resid: Tensor, tokens: Tensor, *, top: int = 5) -> Mapping[int, Tensor]:
    """`copy_hits` of every head after the first layer, whose heads come before the first MLP, by sign: of 1 and of -1,
    for the cost of one. Two of bool [layer-1 head ...]"""
    W_U, shape = weights.W_U.to(resid), (weights.n_layers - 1, weights.n_heads, *tokens.shape)
    # Made at once: kept one by one between logits as large as a vocabulary, they can keep that memory from being freed.
    hits = {sign: torch.empty(shape, dtype=torch.bool, device=resid.device) for sign in (1, -1)}
    for layer, index in product(range(1, weights.n_layers), range(weights.n_heads)):
        written = _written(weights, Head(layer, index), resid, W_U)
        for sign, of_sign in hits.items():
            of_sign[layer - 1, index] = _among_top(sign * written + weights.b_U, tokens, top)
    return hits


def _written(weights: Weights, head: Head, resid: Tensor, W_U: Tensor) -> Tensor:
    """The logits that a head's output makes of `resid`, without b_U. [... vocabulary]"""
    layer, index = head
    W_V, W_O = weights.W_V[layer, index // weights.architecture.group].to(resid), weights.W_O[head].to(resid)
    values = resid @ W_V
    if weights.post_attention is not None:  # whose scale the final norm undoes as well
        W_O = W_O * weights.post_attention[layer]
    # As many products as d_head is wide in place of d_model: the norm's scale is one number a row, so it can wait.
    scale = norm_scale(values @ W_O, weights)
    if weights.architecture.norm == "LayerNorm":
        W_O = W_O - W_O.mean(-1, keepdim=True)
    return (values / scale) @ (W_O @ W_U)


def _among_top(logits: Tensor, tokens: Tensor, top: int) -> Tensor:
    return (logits.topk(top, dim=-1).indices == tokens[..., None]).any(-1)
