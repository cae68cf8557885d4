"""Which heads, at which positions, are worth trying in a circuit? An estimate of all at once, by gradients.

Only a search asks this: what is claimed is measured exactly, by `ablation`. Every head outside is at its mean, and each
inside is a share of the way from there to what it computes; the effect of each is the integral of its gradient along
that way (Sundararajan et al. 2017; for circuits Hanna et al. 2024, there of edges). So effects add up to what all of
them together do, but for the steps that stand for the integral.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor

from lib.models.activations import Weights
from lib.models.backends.plain import forward_in_plain_tensors

ROWS = 512  # tokens at a time, all of whose activations gradients need


def effects_of_keeping(
    weights: Weights,
    tokens: Tensor,
    last: Tensor,
    answers: Tensor,
    *,
    positions: Mapping[str, Tensor],
    values: Tensor,
    steps: int = 5,
) -> dict[str, Tensor]:
    """How much each head adds to the mean logit difference where it is kept at a position, by the position's name.

    tokens: [batch pos]; last: [batch]; answers: [batch 2]; positions: name -> [batch]; values: [layer batch pos head
    d_head], what heads are at elsewhere, as for `run_circuits`. steps: points of the integral. Each [layer head]. Of
    weights kept in half as many bits, gradients need every layer in float32 at once.
    """
    found = torch.zeros(
        len(positions), weights.n_layers, weights.n_heads, dtype=weights.computes_in, device=last.device
    )
    for some in torch.arange(len(tokens), device=last.device).split(max(1, ROWS // tokens.shape[1])):
        where = torch.stack([position[some] for position in positions.values()])
        for step in range(steps):
            kept = torch.full_like(found, (step + 0.5) / steps, requires_grad=True)
            edit = partial(_partly_kept, kept=kept, where=where, values=values[:, some])
            logits = forward_in_plain_tensors(weights, tokens[some], last[some], edit=edit)
            right, wrong = logits.gather(1, answers[some]).T
            [gradient] = torch.autograd.grad((right - wrong).sum(), kept)
            found += gradient / steps / len(tokens)
    return dict(zip(positions, found, strict=True))


def _partly_kept(site: str, layer: int, z: Tensor, *, kept: Tensor, where: Tensor, values: Tensor) -> Tensor:
    """z that is a share of the way from `values` to itself. kept: [name layer head], the share; where: [name batch]."""
    if site != "z":
        return z
    prompts = torch.arange(len(z), device=z.device).expand_as(where)
    of_each = kept[:, None, layer].expand(*where.shape, -1)
    share = torch.zeros(z.shape[:3], dtype=z.dtype, device=z.device).index_put((prompts, where), of_each)
    return values[layer] + share[..., None] * (z - values[layer])
