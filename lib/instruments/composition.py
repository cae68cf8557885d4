"""What attention weights alone say: which heads write where which heads read, and what a head's OV circuit copies.

Composition scores and the eigenvalue view of copying follow Elhage et al. 2021 ("A Mathematical Framework for
Transformer Circuits"). Matrices act on rows here, x @ W, so a head's OV circuit is W_V @ W_O and its QK circuit is
W_Q @ W_K.T, both d_model x d_model of rank d_head; neither is ever formed. Weights must be folded. Where heads share
keys and values, a head's circuits have those of its group. Rotary positions, which turn W_Q W_K.T, and norms of q, k
and of what is written, of which only the gains are taken, are left out.
Everything is computed in float64, whatever the weights are stored in: eigenvalues that nearly cancel leave of a sum in
float32 no digit.
Out of scope: composition through MLPs or through more than one head, and the scale of LayerNorm between two heads.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

import torch
from einops import rearrange
from torch import Tensor

from lib.models.activations import Weights
from lib.models.attention_weights import AttentionWeights
from lib.models.heads import Head

Input = Literal["Q", "K", "V"]  # what of the receiving head the sender's output goes into
TOKENS = 4096  # of the vocabulary that are read in float64 at once


def eigenvalue_scores(weights: Weights | AttentionWeights, *, loop: Tensor | None = None) -> Tensor:
    """How positive the eigenvalues of each head's OV circuit are: sum of them over sum of their sizes. [layer head]

    1 where all are positive (the head copies directions as they are), -1 where all are negative, 0 where they are
    balanced or turn. loop: W_U @ W_E, from `token_loop`, makes it the score of the full OV circuit W_E W_V W_O W_U,
    from tokens to tokens; without it, that of W_V W_O. Either way the non-zero eigenvalues are those of a d_head x
    d_head product, since AB and BA share theirs.
    """
    _, _, W_V, W_O = _matrices(weights)
    eigenvalues = torch.linalg.eigvals(W_O @ (W_V if loop is None else loop.double() @ W_V))
    return eigenvalues.real.sum(-1) / eigenvalues.abs().sum(-1).clamp(min=torch.finfo(W_V.dtype).tiny)


def token_loop(embedding: Tensor, W_U: Tensor) -> Tensor:
    """W_U @ embedding: from the residual stream to the logits and back in as tokens. [d_model d_model]

    embedding: [d_vocab d_model], W_E or what the first layers make of it; W_U: [d_model d_vocab].
    """
    if embedding.shape != W_U.shape[::-1]:
        raise ValueError(
            f"embedding is {tuple(embedding.shape)} and W_U {tuple(W_U.shape)}: give one row of the embedding for each "
            "column of the unembedding"
        )
    # Some tokens at a time: of a whole vocabulary, copies in float64 would take as much as a small model.
    parts = zip(embedding.split(TOKENS), W_U.split(TOKENS, dim=1), strict=True)
    return sum(columns.double() @ rows.double() for rows, columns in parts)


def composition(weights: Weights | AttentionWeights, into: Input) -> Tensor:
    """Composition of every pair of heads: how much of what a sender writes a receiver reads as query, key or value.

    |OV_sender @ R| / (|OV_sender| |R|) in Frobenius norms, R being W_Q W_K.T for Q, W_K W_Q.T for K and W_V W_O for V.
    Returns [layer head layer head], sender first; NaN where the sender's layer is not before the receiver's.
    Two unrelated matrices do not score 0: see `unrelated`.
    """
    if into not in ("Q", "K", "V"):
        raise ValueError(f"into is {into!r}: a head takes in Q, K or V")
    W_Q, W_K, W_V, W_O = _matrices(weights)
    reads, then = {"Q": (W_Q, W_K.mT), "K": (W_K, W_Q.mT), "V": (W_V, W_O)}[into]
    # |A B C|^2 is the trace of (A'A) B (C C') B': the outer factors enter by their d_head x d_head Gram matrices alone.
    outer, last = W_V.mT @ W_V, then @ then.mT  # layer head d_head d_head
    written, read = _product_norms(outer, W_O @ W_O.mT), _product_norms(reads.mT @ reads, last)  # layer head
    n_layers, n_heads, _, d_head = W_V.shape
    scores = W_V.new_full((n_layers, n_heads, n_layers, n_heads), torch.nan)
    for layer in range(1, n_layers):
        met = W_O[:layer].flatten(0, 2) @ rearrange(reads[layer], "head d_model d_head -> d_model (head d_head)")
        met = rearrange(
            met, "(before sender i) (head j) -> before sender head i j", before=layer, head=n_heads, i=d_head
        )
        squares = ((outer[:layer, :, None] @ met) * (met @ last[layer])).sum((-1, -2))
        scores[:layer, :, layer] = squares.clamp(min=0).sqrt() / (written[:layer, :, None] * read[layer])
    return scores


def _matrices(weights: Weights | AttentionWeights) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """W_Q, W_K, W_V and W_O of every query head, in float64. [layer head ...]"""
    gains = 1 if weights.post_attention is None else weights.post_attention[:, None, None]
    W_O = weights.W_O.double() * gains
    group = W_O.shape[1] // weights.W_K.shape[1]
    W_K, W_V = (W.double().repeat_interleave(group, 1) for W in (weights.W_K, weights.W_V))
    return weights.W_Q.double(), W_K, W_V, W_O


def unrelated(weights: Weights | AttentionWeights) -> float:
    """The composition of two random heads, 1 / sqrt(d_model - 1), which is where raw scores start.

    Exact for the root mean square: a random direction keeps 1 / d of its squared length along any other, and what is
    written and read by centred weights has no mean, so its d is one less than d_model.
    """
    return (weights.W_Q.shape[2] - 1) ** -0.5


def lead(scores: Tensor, receiver: Head, senders: Collection[Head]) -> float:
    """The strongest of `senders` minus the strongest other head that can send to `receiver`. scores: `composition`.

    Raises ValueError where none of the senders, or no other head, is in an earlier layer.
    """
    ours, others = _split(scores, receiver, senders)
    return float(ours.max() - others.max())


def mean_of_others(scores: Tensor, receiver: Head, senders: Collection[Head]) -> float:
    """Mean composition with `receiver` over the heads that can send to it and are none of `senders`."""
    return float(_split(scores, receiver, senders)[1].mean())


def share_led(scores: Tensor, receivers: Collection[Head], senders: Collection[Head]) -> float:
    """Share of `receivers` with which one of `senders` composes more than any other head."""
    if not receivers:
        raise ValueError("there are no receivers: give at least one head")
    return sum(lead(scores, receiver, senders) > 0 for receiver in receivers) / len(receivers)


def _split(scores: Tensor, receiver: Head, senders: Collection[Head]) -> tuple[Tensor, Tensor]:
    """Scores with `receiver` of `senders`, and those of all other heads in earlier layers. [ours], [others]"""
    earlier = scores[: receiver[0], :, receiver[0], receiver[1]]
    chosen = torch.zeros_like(earlier, dtype=torch.bool)
    for head in senders:
        if head[0] < receiver[0]:
            chosen[head] = True
    if not chosen.any() or chosen.all():
        raise ValueError(
            f"{len(senders)} senders leave nothing to compare at {receiver[0]}.{receiver[1]}: some, but not all heads "
            f"of the layers before {receiver[0]} must be among them"
        )
    return earlier[chosen], earlier[~chosen]


def _product_norms(left: Tensor, right: Tensor) -> Tensor:
    """|A B| from the Gram matrices A'A and B B', kept from 0, so that a head of zeros composes with nothing."""
    return (left * right).sum((-1, -2)).clamp(min=torch.finfo(left.dtype).tiny).sqrt()
