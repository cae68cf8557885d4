"""What a run predicts next, its final scale, and how much of a logit difference an intervention brings back."""

from __future__ import annotations

import torch
from torch import Tensor

from lib.instruments.attribution import final_scale
from lib.models.activations import Run, Weights
from lib.models.forward import normalize


def logit_of(run: Run, tokens: Tensor) -> Tensor:
    """The logit of one token a prompt at the run's last position; tokens: [batch]. Returns [batch]."""
    return run.logits.gather(1, tokens[:, None])[:, 0]


def probability_of(run: Run, tokens: Tensor) -> Tensor:
    """The probability of one token a prompt after the run's last position; tokens: [batch]. Returns [batch]."""
    return run.logits.softmax(-1).gather(1, tokens[:, None])[:, 0]


def top_tokens(run: Run, weights: Weights, prompt: int) -> Tensor:
    """The token with the largest logit when the residual stream of one prompt is read before each layer, and after the
    last, at every position with its own LayerNorm scale. int64 [layer+1 pos]

    nostalgebraist 2020 ("logit lens"). The run must have kept "resid_pre" and "resid_final".
    """
    streams = torch.cat([run["resid_pre"][:, prompt], run["resid_final"][None, prompt]])
    return (normalize(streams, weights) @ weights.W_U.to(streams) + weights.b_U).argmax(-1)


def recovered(patched: Tensor, corrupted: Tensor, clean: Tensor) -> Tensor:
    """Where between the corrupted run (0) and the clean run (1) the patched one stands: a ratio of means over prompts.

    patched: [... batch]; corrupted, clean: [batch], all logit differences. Returns [...]. The normalisation of
    TransformerLens' activation patching demo; outside 0 to 1 where a patch harms or overshoots.
    """
    return (patched.mean(-1) - corrupted.mean()) / (clean.mean() - corrupted.mean())


def scale_ratio(before: Run, after: Run) -> Tensor:
    """The final LayerNorm's scale at the last position, before over after: an intervention's effect on it. [batch]"""
    return final_scale(before) / final_scale(after)
