"""The maths of a decoder's block on plain tensors: norms, attention, MLP, and the logit difference of two answers.

Driven by the model's `Architecture`; follows the processed model (`lib.models.activations.Weights`), whose norms have
no gain or bias left but for those of q, of k and of what is written. A plain forward pass made of these functions is
what the model itself computes, up to rounding. The instruments use them to compute again only what an intervention can
change.
Out of scope: embedding tokens (every instrument starts from a cached run), the full vocabulary, gradients.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial

import torch
import torch.nn.functional as F
from torch import Tensor

from lib.models.activations import Weights
from lib.models.autocast import refuse_autocast

ACTIVATIONS = {
    "gelu_new": partial(F.gelu, approximate="tanh"),
    "gelu_pytorch_tanh": partial(F.gelu, approximate="tanh"),
    "gelu": F.gelu,
    "relu": F.relu,
    "silu": F.silu,
}
# Rows an MLP takes at once: its hidden layer then stays in the processor's cache. Twice as many gain nothing.
MLP_ROWS = 1024


@dataclass(frozen=True, eq=False)
class Block:
    """One layer's weights as the matrices that multiply: heads side by side, q, k and v of one token in one product."""

    layer: int
    n_heads: int
    n_kv_heads: int
    W_QKV: Tensor  # d_model ((head + 2 kv_head) d_head)
    b_QKV: Tensor
    W_O: Tensor  # (head d_head) d_model
    b_O: Tensor
    W_in: Tensor
    b_in: Tensor
    W_out: Tensor
    b_out: Tensor
    W_gate: Tensor | None
    post_attention: Tensor | None  # gains
    post_mlp: Tensor | None
    q_norm: Tensor | None
    k_norm: Tensor | None

    @classmethod
    def of(cls, weights: Weights, layer: int) -> Block:
        """The block of `layer`, in the number type that is computed in."""
        parts = ((weights.W_Q, weights.b_Q), (weights.W_K, weights.b_K), (weights.W_V, weights.b_V))
        named = ("W_gate", "post_attention", "post_mlp", "q_norm", "k_norm")
        optional = {name: getattr(weights, name) for name in named}
        return cls(
            layer=layer,
            n_heads=weights.n_heads,
            n_kv_heads=weights.architecture.n_kv_heads,
            W_QKV=torch.cat([W[layer].permute(1, 0, 2).flatten(1) for W, _ in parts], 1),
            b_QKV=torch.cat([b[layer].flatten() for _, b in parts]),
            W_O=weights.W_O[layer].flatten(0, 1),
            b_O=weights.b_O[layer],
            W_in=weights.W_in[layer],
            b_in=weights.b_in[layer],
            W_out=weights.W_out[layer],
            b_out=weights.b_out[layer],
            **{name: stacked if stacked is None else stacked[layer] for name, stacked in optional.items()},
        ).to(weights.computes_in)

    def only(self, heads: Sequence[int]) -> Block:
        """With some of its heads alone (their indices, in that order), each with keys and values of its own."""
        shared = [head * self.n_kv_heads // self.n_heads for head in heads]
        parts = [*heads, *(self.n_heads + at for at in shared), *(self.n_heads + self.n_kv_heads + at for at in shared)]
        W_O = self.W_O.unflatten(0, (self.n_heads, -1))
        columns = (self.n_heads + 2 * self.n_kv_heads, W_O.shape[1])
        return replace(
            self,
            n_heads=len(heads),
            n_kv_heads=len(heads),
            W_QKV=self.W_QKV.unflatten(1, columns)[:, parts].flatten(1),
            b_QKV=self.b_QKV.unflatten(0, columns)[parts].flatten(),
            W_O=W_O[list(heads)].flatten(0, 1),
        )

    def to(self, dtype: torch.dtype) -> Block:
        """The same block in another number type."""
        tensors = {name: value for name, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, **{name: tensor.to(dtype) for name, tensor in tensors.items()})


class _MadeWhenRead(Sequence[Block]):
    """The blocks of weights that are computed with in a wider number type. The last one made is kept and not all, which
    would be the whole model again, in twice the memory."""

    def __init__(self, weights: Weights) -> None:
        self._layers, self._made = range(weights.n_layers), lru_cache(1)(partial(Block.of, weights))

    def __getitem__(self, layer: int) -> Block:
        return self._made(self._layers[layer])

    def __len__(self) -> int:
        return len(self._layers)


def blocks(weights: Weights) -> Sequence[Block]:
    """Every layer's block, ready to multiply. Raises ValueError where the MLP's non-linearity is not a known one."""
    refuse_autocast(weights.W_Q.device)
    if weights.architecture.activation not in ACTIVATIONS:
        raise ValueError(
            f"the MLP's activation is {weights.architecture.activation!r}; this suite knows {', '.join(ACTIVATIONS)}: "
            "add it to ACTIVATIONS in lib/models/forward.py"
        )
    made = _MadeWhenRead(weights)
    return list(made) if weights.computes_in == weights.W_Q.dtype else made


def normalize(x: Tensor, weights: Weights) -> Tensor:
    """The model's norm, without gain or bias, over the last axis. [... d_model], or [... d_head] of a norm of heads."""
    norm = F.layer_norm if weights.architecture.norm == "LayerNorm" else F.rms_norm
    return norm(x, x.shape[-1:], eps=weights.architecture.norm_eps)


def norm_scale(x: Tensor, weights: Weights) -> Tensor:
    """What that norm divides by. [... 1]"""
    if weights.architecture.norm == "LayerNorm":
        x = x - x.mean(-1, keepdim=True)
    return (x.pow(2).mean(-1, keepdim=True) + weights.architecture.norm_eps).sqrt()


def project(x: Tensor, block: Block, weights: Weights) -> tuple[Tensor, Tensor, Tensor]:
    """q, k and v of residual streams entering the block, as projected. x: [... d_model]. Returns [... head d_head] and
    two [... kv_head d_head]."""
    flat = torch.addmm(block.b_QKV, normalize(x, weights).flatten(0, -2), block.W_QKV)
    counts = (block.n_heads, block.n_kv_heads, block.n_kv_heads)
    return flat.view(*x.shape[:-1], sum(counts), weights.d_head).split(counts, -2)


def project_input(x: Tensor, weights: Weights, layer: int, heads: Sequence[int], site: str) -> Tensor:
    """q, k or v alone, and of some heads (of keys and values: those they share). x: [... d_model]. [... head d_head]"""
    W, b = (getattr(weights, f"{kind}_{site.upper()}")[layer][list(heads)].to(x) for kind in "Wb")
    flat = torch.addmm(b.flatten(), normalize(x, weights).flatten(0, -2), W.permute(1, 0, 2).flatten(1))
    return flat.view(*x.shape[:-1], *b.shape)


def ready_queries(q: Tensor, block: Block, weights: Weights, positions: Tensor) -> Tensor:
    """Queries that need only meet keys to be scores: normalised and turned where the model does that, and scaled.
    q: [... head d_head]; positions: [...], those before the heads, or what broadcasts to them."""
    return _turned(q, block.q_norm, block, weights, positions) * weights.architecture.scale


def ready_keys(k: Tensor, block: Block, weights: Weights, positions: Tensor) -> Tensor:
    """Keys as queries meet them: normalised and turned where the model does that."""
    return _turned(k, block.k_norm, block, weights, positions)


def _turned(x: Tensor, gain: Tensor | None, block: Block, weights: Weights, positions: Tensor) -> Tensor:
    if gain is not None:
        x = normalize(x, weights) * gain
    rotary = weights.architecture.rotary
    return x if rotary is None else rotary.turned(x, positions, block.layer)


def written_by_attention(written: Tensor, block: Block, weights: Weights) -> Tensor:
    """attn_out of what heads and b_O write together: normalised where the model does that. [... d_model]"""
    return written if block.post_attention is None else normalize(written, weights) * block.post_attention


def written_by_heads(z: Tensor, block: Block) -> Tensor:
    """What heads and b_O write together. z: [... head d_head]. Returns [... d_model]."""
    return torch.addmm(block.b_O, z.flatten(-2).flatten(0, -2), block.W_O).view(*z.shape[:-2], len(block.b_O))


def combine(z: Tensor, block: Block, weights: Weights) -> Tensor:
    """attn_out of head outputs. z: [... head d_head]. Returns [... d_model]."""
    return written_by_attention(written_by_heads(z, block), block, weights)


def add_mlp_(x: Tensor, block: Block, weights: Weights, entering: Tensor) -> None:
    """The stream after attention to the stream leaving the block, in place and a few rows at a time.

    x: contiguous [... d_model]; entering: the stream entering the block, which the MLP reads where it is parallel to
    attention, and else nobody.
    """
    rows = x.view(-1, x.shape[-1]).split(MLP_ROWS)
    read = entering.expand_as(x).reshape(-1, x.shape[-1]).split(MLP_ROWS) if weights.architecture.parallel else rows
    for some, reading in zip(rows, read, strict=True):
        some += mlp(reading, block, weights)


def mlp(x: Tensor, block: Block, weights: Weights) -> Tensor:
    """What the MLP adds to the stream, of streams that it reads. x: [row d_model]. Returns [row d_model]."""
    activation, normal = ACTIVATIONS[weights.architecture.activation], normalize(x, weights)
    hidden = torch.addmm(block.b_in, normal, block.W_in)
    hidden = activation(hidden) if block.W_gate is None else activation(normal @ block.W_gate) * hidden
    written = torch.addmm(block.b_out, hidden, block.W_out)
    return written if block.post_mlp is None else normalize(written, weights) * block.post_mlp


def capped(x: Tensor, cap: float | None) -> Tensor:
    """x where there is no cap, and else no further from zero than that."""
    return x if cap is None else cap * (x / cap).tanh()


def visible(queries: Tensor, keys: Tensor, window: int | None) -> Tensor:
    """Whether a query at a position may see a key at another: none after it, none that is outside its window. Both
    broadcast. bool"""
    return (keys <= queries) if window is None else (keys <= queries) & (keys > queries - window)


def attention_pattern(q: Tensor, k: Tensor, block: Block, weights: Weights, *, real: Tensor | None = None) -> Tensor:
    """Attention over whole prompts. q: [batch pos head d_head], k: [batch pos kv_head d_head], both as projected.
    Returns [batch head query key].

    real: bool [batch pos], False where padding stands, which none but itself attends to and which has no position.
    """
    return attention_scores(q, k, block, weights, real=real).softmax(-1)


def attention_scores(q: Tensor, k: Tensor, block: Block, weights: Weights, *, real: Tensor | None = None) -> Tensor:
    """What the softmax is of; minus infinity where a key is not seen. Arguments and shape as `attention_pattern`."""
    columns = torch.arange(q.shape[1], device=q.device)
    positions = columns if real is None else (real.cumsum(1) - 1).clamp(min=0)
    q, k = ready_queries(q, block, weights, positions), ready_keys(k, block, weights, positions)
    scores = q.transpose(1, 2) @ _by_query_head(k, q.shape[2]).permute(0, 2, 3, 1)
    seen = visible(columns[:, None], columns, weights.architecture.window(block.layer))
    if real is not None:
        seen = seen & (real[:, None, None] | torch.eye(len(seen), dtype=torch.bool, device=q.device))
    return capped(scores, weights.architecture.attention_cap).masked_fill(~seen, -math.inf)


def mixed(pattern: Tensor, v: Tensor) -> Tensor:
    """Head outputs z [batch query head d_head] of a pattern [batch head query key] and v [batch key kv_head d_head]."""
    return (pattern @ _by_query_head(v, pattern.shape[1]).transpose(1, 2)).transpose(1, 2)


def _by_query_head(x: Tensor, n_heads: int) -> Tensor:
    """[batch pos kv_head d_head] with each key/value head repeated for the query heads of its group."""
    return x if x.shape[2] == n_heads else x.repeat_interleave(n_heads // x.shape[2], 2)


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    past_k: Tensor,
    past_v: Tensor,
    sees_past: Tensor,
    sees: Tensor,
    cap: float | None,
) -> Tensor:
    """Head outputs of queries that see keys of their own row and, besides, past keys which all rows share.

    q: [row batch query head d_head], ready. k, v: [row batch key kv_head d_head], the row's own, keys ready. past_k,
    past_v: [batch past kv_head d_head]. sees_past: bool [batch query past], or what broadcasts to that. sees: bool
    [batch query key]; each query must see a key. Returns z [row batch query head d_head]. Exact: it is one softmax over
    both kinds of key, and since every row reads the same past, the rows' queries meet it in one product, with no copy
    of it a row. So do the query heads of a group, which read the same keys.
    """
    n_past, shared = past_k.shape[1], k.shape[3]
    queries = q.unflatten(3, (shared, -1)).permute(1, 3, 0, 4, 2, 5)  # batch shared row group query d_head
    rows, group, n_queries = queries.shape[2:5]
    past = queries.flatten(2, 4) @ past_k.permute(0, 2, 3, 1)  # batch shared (row group query) past
    past = (
        capped(past, cap)
        .unflatten(2, (rows, group, n_queries))
        .masked_fill_(~sees_past[:, None, None, None], -math.inf)
    )
    own = queries.flatten(3, 4) @ k.permute(1, 3, 0, 4, 2)  # batch shared row (group query) key
    own = capped(own, cap).unflatten(3, (group, n_queries)).masked_fill_(~sees[:, None, None, None], -math.inf)
    pattern = torch.cat([past, own], -1).softmax(-1)
    z = pattern[..., n_past:].flatten(3, 4) @ v.permute(1, 3, 0, 2, 4)  # batch shared row (group query) d_head
    z += (pattern[..., :n_past].flatten(2, 4) @ past_v.transpose(1, 2)).view_as(z)
    return z.unflatten(3, (group, n_queries)).permute(2, 0, 4, 1, 3, 5).flatten(3, 4)


def answer_direction(weights: Weights, answers: Tensor) -> Tensor:
    """W_U[:, right] - W_U[:, wrong] for `answers` [batch 2]. Returns [batch d_model]."""
    right, wrong = (weights.W_U[:, token].to(weights.computes_in) for token in answers.T)
    return (right - wrong).T


def logit_difference(resid: Tensor, weights: Weights, answers: Tensor) -> Tensor:
    """logit[answers[:, 0]] - logit[answers[:, 1]] of final residual streams. resid: [... batch d_model]. [... batch]

    Logits are linear in the normalised stream, but for a cap, so two columns of the unembedding are all it needs.
    """
    normal, cap = normalize(resid, weights), weights.architecture.final_cap
    if cap is None:
        bias = weights.b_U[answers].to(weights.computes_in).T
        return (normal * answer_direction(weights, answers)).sum(-1) + (bias[0] - bias[1])
    right, wrong = ((normal * weights.W_U.T[token]).sum(-1) + weights.b_U[token] for token in answers.T)
    return capped(right, cap) - capped(wrong, cap)
