"""How far rounding alone may take two computations of the same numbers apart: where the tests' tolerances are from.

Equality is asked in float64, where it can be told from nearly equal. What is only there in float32 gets the bound of
rounding analysis, from how many roundings a number goes through and how large what is added is, not from how far apart
two results came out on some processor: which instructions add, and in which order, is the processor's affair.

Sums of n terms are off by at most λ √n u Σ|terms|, but with probability 2 exp(-λ²/2), 3e-14 for λ = 8 (Higham and Mary
2019, "A new approach to probabilistic rounding error analysis", theorem 2.4). u is the unit roundoff.
Out of scope: how far something must be from a near miss, which is about effects and not about rounding.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from lib.models.activations import Weights

LAMBDA = 8.0
UNIT_ROUNDOFF = {torch.float64: 2.0**-53, torch.float32: 2.0**-24}
DEVIATION = "deviation"  # the property under which a test's report says how far apart, and of how much
_PROPERTIES: ContextVar[list[tuple[str, object]]] = ContextVar("properties")


def rounding(dtype: torch.dtype, *, terms: int, size: float) -> float:
    """How far rounding may move a sum of `terms` numbers whose absolute values add up to `size`, in its unit."""
    return LAMBDA * math.sqrt(terms) * UNIT_ROUNDOFF[dtype] * size


# What no test here exceeds: a million roundings, of numbers that add up to ten. 8.9e-12.
EQUAL = rounding(torch.float64, terms=10**6, size=10.0)


def roundings_of_a_pass(weights: Weights, *, positions: int) -> int:
    """Additions that a number goes through from the embedding to the logits, one product after the other: q, k and v,
    scores, the softmax, values, output and both halves of the MLP in each layer, and the unembedding."""
    d_model, d_mlp = weights.W_in.shape[1:]
    heads = weights.n_heads * weights.d_head
    return weights.n_layers * (2 * d_model + weights.d_head + 2 * positions + heads + d_mlp) + d_model


def of_logits(weights: Weights, *, positions: int) -> float:
    """How far rounding may move a logit, or a difference of two, in the weights' number type.

    A logit is a normalised stream, sqrt(d_model) long, times a column of W_U: by Cauchy and Schwarz that bounds the sum
    of absolute values. LayerNorm hands on relative errors as they are.
    """
    terms = roundings_of_a_pass(weights, positions=positions)
    return rounding(weights.W_Q.dtype, terms=terms, size=2 * _largest_logit(weights))


def of_weights_in_float32(weights: Weights) -> float:
    """How far logits, or differences of two, may be apart where arithmetic is float64 and each weight was rounded to
    float32 once, as the hooking library does in folding: one rounding a matrix on the way, seven a layer."""
    return rounding(torch.float32, terms=7 * weights.n_layers + 1, size=2 * _largest_logit(weights))


# A folded bias has one of the first times a matrix of the second in it: stored names, without the layer.
FOLDED = {
    **dict.fromkeys(("b_Q", "b_K", "b_V"), ("ln_1.bias", "attn.c_attn.weight")),
    "b_O": ("attn.c_attn.bias", "attn.c_proj.weight"),
    "b_in": ("ln_2.bias", "mlp.c_fc.weight"),
    "b_U": ("ln_f.bias", "lm_head.weight"),  # which is stored the other way round
}


def of_folding(name: str, tensor: Tensor, directory: Path) -> float:
    """How far rounding in float32 may move a processed weight, when what is stored in `directory` is folded into it.

    A matrix's number is multiplied by a gain, has up to two means taken off it, and is stored. A folded bias has a
    column of a matrix times another bias added to it: d_model products, whose absolute values add up to no more than
    both lengths multiplied.
    """
    stored = {key: value.double() for key, value in load_file(directory / "model.safetensors").items()}
    largest = rounding(torch.float32, terms=4, size=float(tensor.abs().max()))
    if name not in FOLDED:
        return largest
    bias, matrix = FOLDED[name]
    biases = [value.norm() for key, value in stored.items() if key.endswith(bias)]
    columns = [value.norm(dim=int(name == "b_U")).max() for key, value in stored.items() if key.endswith(matrix)]
    terms = next(max(value.shape) for key, value in stored.items() if key.endswith(matrix))
    return largest + rounding(torch.float32, terms=terms, size=float(max(biases) * max(columns)))


def of_eigenvalues(n: int) -> float:
    """How far a score of eigenvalues may move in float64, where a whole matrix [n n] has few that are not 0: an
    eigenvalue that is there more than once comes out wrong by the square root of u, and they are added up."""
    return n * math.sqrt(UNIT_ROUNDOFF[torch.float64])


@dataclass(frozen=True)
class Agreement:
    """How far apart two results are, and how far they may be. True where that is no further."""

    gap: float
    allowed: float

    def __bool__(self) -> bool:
        return self.gap <= self.allowed

    def __repr__(self) -> str:
        return f"{self.gap:.3g} apart, where {self.allowed:.3g} is allowed"


def agree(mine: Tensor | float, other: Tensor | float, allowed: float) -> Agreement:
    """Whether two results are equal but for rounding. The running test's report keeps how far apart they are."""
    both = (torch.as_tensor(one, dtype=torch.float64) for one in (mine, other))
    found = Agreement(float(torch.sub(*both).abs().max()), allowed)
    _PROPERTIES.get([]).append((DEVIATION, [found.gap, found.allowed]))
    return found


@contextmanager
def reported_in(properties: list[tuple[str, object]]) -> Iterator[None]:
    """While the block lasts, deviations are added to the properties of a test."""
    token = _PROPERTIES.set(properties)
    try:
        yield
    finally:
        _PROPERTIES.reset(token)


def _largest_logit(weights: Weights) -> float:
    return math.sqrt(weights.d_model) * float(weights.W_U.double().norm(dim=0).max())
