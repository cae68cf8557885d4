"""Direct logit attribution: what each part of the residual stream adds to the logit difference by itself.

The final norm is linear once its scale is given, and each run's own scale is used (TransformerLens' Exploratory
Analysis demo). Weights are folded, so the parts, and b_U, sum to the logit difference exactly; where the model caps its
logits, to the difference before the cap. Where it normalises what attention writes, that norm's scale is given too, and
frozen as the run has it.
"""

from __future__ import annotations

import torch
from einops import einsum
from torch import Tensor

from lib.models.activations import Run, Weights, at_positions
from lib.models.forward import answer_direction, norm_scale


def attribution_by_head(run: Run, weights: Weights, answers: Tensor) -> Tensor:
    """Each head's direct contribution to the logit difference at the run's last position. [layer head batch]

    b_O belongs to no head and is left out. The run must have kept "z" and "final_scale".
    """
    return written_along(run, weights, _scaled_direction(run, weights, answers))


def attribution_by_layer(run: Run, weights: Weights, answers: Tensor) -> tuple[Tensor, Tensor]:
    """What each attention layer (b_O included) and each MLP adds directly. Two tensors [layer batch].

    The run must have kept "attn_out", "mlp_out" and "final_scale".
    """
    direction = _scaled_direction(run, weights, answers)
    return (_at_last(run["attn_out"], run) * direction).sum(-1), (_at_last(run["mlp_out"], run) * direction).sum(-1)


def logit_lens(run: Run, weights: Weights, answers: Tensor) -> Tensor:
    """Logit difference read off the residual stream before each layer, and after the last. [layer+1 batch]

    The run's own final norm's scale is used throughout, and b_U is added, so the last entry is the model's own
    logit difference. The run must have kept "resid_pre", "resid_final" and "final_scale".
    """
    direction = _scaled_direction(run, weights, answers)
    streams = torch.cat([_at_last(run["resid_pre"], run), at_positions(run["resid_final"], run.last)[None]])
    bias = weights.b_U[answers].to(streams).T
    return (streams * direction).sum(-1) + (bias[0] - bias[1])


def written_along(run: Run, weights: Weights, direction: Tensor) -> Tensor:
    """What each head adds to the stream at the run's last position, along a direction [batch d_model] each prompt.
    [layer head batch]

    Where the model normalises what attention writes, a head's part of that is taken at the scale of the whole.
    """
    along = _before_the_norm(run, weights, direction)
    by_layer = []
    for z, W_O, aim in zip(run["z"], weights.W_O, along, strict=True):  # one at a time: all z may not fit in memory
        read = einsum(W_O.to(aim), aim, "head d_head d_model, batch d_model -> batch head d_head")
        by_layer.append(einsum(at_positions(z, run.last), read, "batch head d_head, batch head d_head -> head batch"))
    return torch.stack(by_layer)


def biases_along(run: Run, weights: Weights, direction: Tensor) -> Tensor:
    """The same of all b_O, which belong to no head. [batch]"""
    return (weights.b_O[:, None] * _before_the_norm(run, weights, direction)).sum((0, 2))


def _before_the_norm(run: Run, weights: Weights, direction: Tensor) -> Tensor:
    """The direction in what heads write that a direction of the stream is, given each norm between the two at its
    scale. [layer batch d_model]"""
    along = direction.to(weights.computes_in).expand(weights.n_layers, -1, -1)
    if weights.post_attention is None:
        return along
    written = [
        einsum(at_positions(z, run.last), W_O.to(z), "batch head d_head, head d_head d_model -> batch d_model")
        for z, W_O in zip(run["z"], weights.W_O, strict=True)
    ]
    return along * weights.post_attention[:, None] / norm_scale(torch.stack(written) + weights.b_O[:, None], weights)


def final_scale(run: Run) -> Tensor:
    """What the final norm divides by at the run's last position. [batch]"""
    return at_positions(run["final_scale"], run.last)[:, 0]


def _scaled_direction(run: Run, weights: Weights, answers: Tensor) -> Tensor:
    return answer_direction(weights, answers) / final_scale(run)[:, None]


def _at_last(stacked: Tensor, run: Run) -> Tensor:
    """[layer batch pos ...] at the run's last position: [layer batch ...]."""
    return torch.stack([at_positions(layer, run.last) for layer in stacked])
