"""The maths of a GPT-2 block on plain tensors: layer norm, attention, MLP, and the logit difference of two answers.

Follows the processed model (`lib.models.activations.Weights`): layer norms have no gain or bias left, q.k is divided by
sqrt(d_head), whatever the stored model's own scale (`folding`). A plain forward pass made of these functions is what
the model itself computes, up to rounding. The instruments use them to compute again only what an intervention can
change.
Out of scope: embedding tokens (every instrument starts from a cached run), the full vocabulary, gradients.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from lib.models.activations import Weights
from lib.models.config import CannotLoad

ACTIVATIONS = {
    "gelu_new": partial(F.gelu, approximate="tanh"),
    "gelu_pytorch_tanh": partial(F.gelu, approximate="tanh"),
    "gelu": F.gelu,
    "relu": F.relu,
}
# Rows an MLP takes at once: its hidden layer then stays in the processor's cache. Twice as many gain nothing.
MLP_ROWS = 1024


@dataclass(frozen=True, eq=False)
class Block:
    """One layer's weights as the matrices that multiply: heads side by side, q, k and v of one token in one product."""

    W_QKV: Tensor  # d_model (3 head d_head)
    b_QKV: Tensor
    W_O: Tensor  # (head d_head) d_model
    b_O: Tensor
    W_in: Tensor
    b_in: Tensor
    W_out: Tensor
    b_out: Tensor

    @classmethod
    def of(cls, weights: Weights, layer: int, heads: Sequence[int] | None = None) -> Block:
        """The block of `layer`, with all its heads or only `heads` (their indices, in that order)."""
        kept = slice(None) if heads is None else list(heads)
        columns = [W[layer][kept].permute(1, 0, 2).flatten(1) for W in (weights.W_Q, weights.W_K, weights.W_V)]
        return cls(
            W_QKV=torch.cat(columns, 1),
            b_QKV=torch.cat([b[layer][kept].flatten() for b in (weights.b_Q, weights.b_K, weights.b_V)]),
            W_O=weights.W_O[layer][kept].flatten(0, 1),
            b_O=weights.b_O[layer],
            W_in=weights.W_in[layer],
            b_in=weights.b_in[layer],
            W_out=weights.W_out[layer],
            b_out=weights.b_out[layer],
        )

    def to(self, dtype: torch.dtype) -> Block:
        """The same block in another number type."""
        return Block(**{name: tensor.to(dtype) for name, tensor in vars(self).items()})


def refuse_autocast(device: torch.device) -> None:
    """Raises CannotLoad where torch.autocast would compute in another number type than the weights have."""
    if torch.is_autocast_enabled(device.type):
        raise CannotLoad(
            f"torch.autocast is on for {device.type}, so matrix products would be in "
            f"{torch.get_autocast_dtype(device.type)} whatever number type is asked for: leave it first, and use "
            "--claims-dtype for another number type"
        )


def blocks(weights: Weights) -> list[Block]:
    """Every layer's block, ready to multiply. Raises ValueError where the MLP's non-linearity is not a known one."""
    refuse_autocast(weights.W_Q.device)
    if weights.activation not in ACTIVATIONS:
        raise ValueError(
            f"the MLP's activation is {weights.activation!r}; this suite knows {', '.join(ACTIVATIONS)}: "
            "add it to ACTIVATIONS in lib/models/forward.py"
        )
    return [Block.of(weights, layer) for layer in range(weights.n_layers)]


def normalize(x: Tensor, weights: Weights) -> Tensor:
    """LayerNorm without gain or bias over the last axis. [... d_model]"""
    return F.layer_norm(x, x.shape[-1:], eps=weights.layer_norm_eps)


def project(x: Tensor, block: Block, weights: Weights) -> tuple[Tensor, Tensor, Tensor]:
    """q, k and v of residual streams entering the block. x: [... d_model]. Returns three [... head d_head]."""
    flat = torch.addmm(block.b_QKV, normalize(x, weights).flatten(0, -2), block.W_QKV)
    n_heads = block.b_QKV.numel() // (3 * weights.d_head)
    return flat.view(*x.shape[:-1], 3, n_heads, weights.d_head).unbind(-3)


def combine(z: Tensor, block: Block) -> Tensor:
    """attn_out of head outputs. z: [... head d_head]. Returns [... d_model]."""
    return torch.addmm(block.b_O, z.flatten(-2).flatten(0, -2), block.W_O).view(*z.shape[:-2], len(block.b_O))


def add_mlp_(x: Tensor, block: Block, weights: Weights) -> None:
    """resid_mid to resid_post in place, a few rows at a time. x: contiguous [... d_model]."""
    activation = ACTIVATIONS[weights.activation]
    for rows in x.view(-1, x.shape[-1]).split(MLP_ROWS):
        hidden = activation(torch.addmm(block.b_in, normalize(rows, weights), block.W_in))
        rows += torch.addmm(block.b_out, hidden, block.W_out)


def attention_pattern(q: Tensor, k: Tensor, *, real: Tensor | None = None) -> Tensor:
    """Causal attention over whole prompts. q, k: [batch pos head d_head]. Returns [batch head query key].

    real: bool [batch pos], False where padding stands, which none but itself attends to.
    """
    scores = q.transpose(1, 2) @ k.permute(0, 2, 3, 1) / math.sqrt(q.shape[-1])
    causal = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).tril()
    if real is not None:
        causal = causal & (real[:, None, None] | torch.eye(len(causal), dtype=torch.bool, device=q.device))
    return scores.masked_fill(~causal, -math.inf).softmax(-1)


def attend(
    q: Tensor, k: Tensor, v: Tensor, *, past_k: Tensor, past_v: Tensor, sees_past: Tensor, sees: Tensor
) -> Tensor:
    """Head outputs of queries that see keys of their own row and, besides, past keys which all rows share.

    q: [row batch query head d_head]. k, v: [row batch key head d_head], the row's own. past_k, past_v:
    [batch past head d_head]. sees_past: bool [batch past]. sees: bool [batch query key]; each query must see a key.
    Returns z [row batch query head d_head]. Exact: it is one softmax over both kinds of key, and since every row reads
    the same past, the rows' queries meet it in one product, with no copy of it a row.
    """
    n_rows, n_past = q.shape[0], past_k.shape[1]
    queries = q.permute(1, 3, 0, 2, 4) / math.sqrt(q.shape[-1])  # batch head row query d_head
    past = queries.flatten(2, 3) @ past_k.permute(0, 2, 3, 1)  # batch head (row query) past
    past = past.masked_fill_(~sees_past[:, None, None], -math.inf).unflatten(2, (n_rows, -1))
    own = queries @ k.permute(1, 3, 0, 4, 2)  # batch head row query key
    own = own.masked_fill_(~sees[:, None, None], -math.inf)
    pattern = torch.cat([past, own], -1).softmax(-1)
    z = pattern[..., n_past:] @ v.permute(1, 3, 0, 2, 4)
    z += (pattern[..., :n_past].flatten(2, 3) @ past_v.transpose(1, 2)).unflatten(2, (n_rows, -1))
    return z.permute(2, 0, 3, 1, 4)


def answer_direction(weights: Weights, answers: Tensor) -> Tensor:
    """W_U[:, right] - W_U[:, wrong] for `answers` [batch 2]. Returns [batch d_model]."""
    return (weights.W_U[:, answers[:, 0]] - weights.W_U[:, answers[:, 1]]).T


def logit_difference(resid: Tensor, weights: Weights, answers: Tensor) -> Tensor:
    """logit[answers[:, 0]] - logit[answers[:, 1]] of final residual streams. resid: [... batch d_model]. [... batch]

    The logit difference is linear in the normalised stream, so two columns of the unembedding are all it needs.
    """
    bias = weights.b_U[answers[:, 0]] - weights.b_U[answers[:, 1]]
    return (normalize(resid, weights) * answer_direction(weights, answers)).sum(-1) + bias
