"""How much heads attend from one position to another, on prompts and on repeated random tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from lib.instruments.attribution import written_along
from lib.models.activations import Run, Weights


def attention(run: Run, *, query: Tensor, key: Tensor) -> Tensor:
    """Attention probability from position `query` to position `key`, both [batch]. Returns [layer head batch].

    The run must have kept "pattern". Raises ValueError where a key comes after its query, since causal attention is
    zero there and a claim about it would be a slip of positions.
    """
    if bool((key > query).any()):
        row = int((key > query).nonzero()[0])
        raise ValueError(f"prompt {row}: key position {int(key[row])} comes after query position {int(query[row])}")
    pattern = run["pattern"]  # layer batch head query key
    batch = torch.arange(pattern.shape[1], device=pattern.device)
    return pattern[:, batch, :, query, key].permute(1, 2, 0)


def attends_most_to_first(run: Run, *, query: Tensor, keys: Sequence[Tensor]) -> Tensor:
    """Whether `query` attends more to the first of `keys` than to each other one, all [batch]. bool [layer head batch]

    Positions that are not in `keys` do not count. Raises ValueError as `attention` does.
    """
    first, *others = (attention(run, query=query, key=key) for key in keys)
    return first > torch.stack(others).amax(0)


def value_weighted_attention(run: Run, *, query: Tensor, key: Tensor) -> Tensor:
    """Attention times the norm of the value attended to: how much is moved, not just where from. [layer head batch]

    Given as a share of the same sum over all keys, so 1 means that nothing else is moved. Not the norm of Kobayashi et
    al. 2020, which is of what is written, the value and its bias times W_O: here W_O is left out, and value biases are
    folded into b_O. The run must have kept "pattern" and "v".
    """
    norms = run["v"].norm(dim=-1)  # layer batch key kv_head
    norms = norms.repeat_interleave(run["pattern"].shape[2] // norms.shape[-1], -1)
    batch = torch.arange(norms.shape[1], device=norms.device)
    row = run["pattern"][:, batch, :, query]  # batch layer head key
    weighted = row * norms.permute(1, 0, 3, 2)
    return (weighted[batch, :, :, key] / weighted.sum(-1)).permute(1, 2, 0)


def projection_on_token(run: Run, weights: Weights, tokens: Tensor) -> Tensor:
    """<each head's output at the run's last position, W_U[:, token]> for one token a prompt. [layer head batch]

    tokens: [batch]. Wang et al. 2022, Fig. 3c: no LayerNorm. Scale-free uses (a correlation) are comparable; magnitudes
    are not logits. Where what attention writes is normalised, that norm's scale is taken as it was. The run must have
    kept "z".
    """
    return written_along(run, weights, weights.W_U.T[tokens])


def attended_and_written(
    run: Run, weights: Weights, *, tokens: Tensor, places: Sequence[Sequence[Tensor]]
) -> tuple[Tensor, Tensor]:
    """Attention from the last position to some tokens, and the head's output on their unembedding: what to correlate.

    tokens: [point batch]; places: for each point the positions, each [batch], at which its token stands. Attention to
    them is added up (Wang et al. 2022, Fig. 3c), since what is read at any of them is that token. The run must have
    kept "pattern" and "z". Returns two tensors [layer head point batch].
    """
    attended = [sum(attention(run, query=run.last, key=place) for place in of_token) for of_token in places]
    written = [projection_on_token(run, weights, token) for token in tokens]
    return torch.stack(attended, 2), torch.stack(written, 2)


class RepeatedTokenScores(NamedTuple):
    """Mean attention on random tokens repeated once, each [layer head sequence]."""

    previous: Tensor  # to the previous token
    duplicate: Tensor  # from the second copy of a token to the first
    induction: Tensor  # from the second copy of a token to the one after the first


def repeated_token_scores(run: Run) -> RepeatedTokenScores:
    """Head-type scores on a run of sequences that are `half` tokens and then the same again.

    Each score averages over all rows it is defined for: previous over every position but the first, the other two over
    the second half. Raises ValueError where the second half does not repeat the first.
    """
    tokens, pattern = run.tokens, run["pattern"]
    half = tokens.shape[1] // 2
    if tokens.shape[1] % 2 or not torch.equal(tokens[:, :half], tokens[:, half:]):
        raise ValueError("the second half of every sequence must repeat the first")

    def mean_on_diagonal(offset: int, first: int) -> Tensor:
        diagonal = pattern.diagonal(offset, dim1=-2, dim2=-1)  # entry i is query i - offset, key i
        return diagonal[..., first + offset :].mean(-1).permute(0, 2, 1)

    return RepeatedTokenScores(
        previous=mean_on_diagonal(-1, 1),
        duplicate=mean_on_diagonal(-half, half),
        induction=mean_on_diagonal(1 - half, half),
    )
