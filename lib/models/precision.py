"""In which precision a model that is asked to compute in float64 really computes: measured, since libraries round.

TransformerLens folds weights in float32 whatever their type is (process_weights, 4.3), and a softmax that is forced to
float32 raises nothing. Both stay inside bands that have to allow float32. Out of scope: other number types, whose
rounding those bands are there for.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from lib.models import forward
from lib.models.activations import Weights
from lib.models.backends.plain import PlainBackend, forward_in_plain_tensors
from lib.models.checkpoint import Checkpoint
from lib.models.folding import fold
from lib.models.model import Model, load

UNIT_ROUNDOFF = {"float64": 2.0**-53, "float32": 2.0**-24, "bfloat16": 2.0**-9}


def precision_of(model: Model) -> str:
    """How far weights and a short forward pass are from the same in float64, and which number type rounds like that.

    Of weights the matrices count: what is folded into a bias may cancel. Of the pass the logits, against plain tensors,
    and the patterns, against exponentials. Empty for a model in another number type.
    """
    if model.dtype != torch.float64:
        return ""
    exact, mine = fold(Checkpoint(model.directory), torch.float64).to(model.device).tensors(), model.weights
    of_weights = max(_gap(tensor, exact[name]) for name, tensor in mine.tensors().items() if name.startswith("W"))
    tokens, last = model.probe_prompt()
    run = model.run(tokens, last=last, keep=("q", "k", "pattern"))
    of_pass = max(
        _gap(run.logits, forward_in_plain_tensors(mine, tokens, last)),
        *(
            _gap(pattern, _by_exponentials(forward.attention_scores(q, k, block, mine)))
            for pattern, q, k, block in zip(run["pattern"], run["q"], run["k"], forward.blocks(mine), strict=True)
        ),
    )
    return f"weights as exact as {_said(of_weights)}, arithmetic as exact as {_said(of_pass)}"


class _AsTheyAre(Weights):
    """Weights that everything is computed with in the number type they are kept in, however coarse that is."""

    @property
    def computes_in(self) -> torch.dtype:
        return self.W_Q.dtype


def in_bfloat16(model: Model) -> Model:
    """The same model with 8 bits a number, in plain tensors: not its weights alone, but whatever is computed."""
    rounded = load(model.directory, name="coarse", device=str(model.device), dtype="bfloat16", backend="plain")
    return replace(rounded, backend=PlainBackend(_AsTheyAre(**vars(rounded.weights))))


def _by_exponentials(scores: Tensor) -> Tensor:
    """Their softmax, without torch's."""
    powers = (scores - scores.amax(-1, keepdim=True)).exp()
    return powers / powers.sum(-1, keepdim=True)


def _gap(mine: Tensor, exact: Tensor) -> float:
    """The largest difference, as a share of the largest number."""
    return float((mine - exact).abs().max() / exact.abs().max())


def _said(gap: float) -> str:
    """The number type whose unit roundoff is nearest, counted in digits, since a sum makes several of one."""
    digits = math.log(max(gap, UNIT_ROUNDOFF["float64"]))
    name = min(UNIT_ROUNDOFF, key=lambda name: abs(digits - math.log(UNIT_ROUNDOFF[name])))
    return f"{name} ({gap:.0e} off)"
