"""What a run predicts next, its final scale, and how much of a logit difference an intervention brings back."""

from __future__ import annotations

from torch import Tensor

from lib.activations import Run
from lib.instruments.attribution import final_scale


def logit_of(run: Run, tokens: Tensor) -> Tensor:
    """The logit of one token a prompt at the run's last position; tokens: [batch]. Returns [batch]."""
    return run.logits.gather(1, tokens[:, None])[:, 0]


def probability_of(run: Run, tokens: Tensor) -> Tensor:
    """The probability of one token a prompt after the run's last position; tokens: [batch]. Returns [batch]."""
    return run.logits.softmax(-1).gather(1, tokens[:, None])[:, 0]


def recovered(patched: Tensor, corrupted: Tensor, clean: Tensor) -> Tensor:
    """Where between the corrupted run (0) and the clean run (1) the patched one stands: a ratio of means over prompts.

    patched: [... batch]; corrupted, clean: [batch], all logit differences. Returns [...]. The normalisation of
    TransformerLens' activation patching demo; outside 0 to 1 where a patch harms or overshoots.
    """
    return (patched.mean(-1) - corrupted.mean()) / (clean.mean() - corrupted.mean())


def scale_ratio(before: Run, after: Run) -> Tensor:
    """The final LayerNorm's scale at the last position, before over after: an intervention's effect on it. [batch]"""
    return final_scale(before) / final_scale(after)
