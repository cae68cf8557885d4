"""The same figures from two models: the one under test, and a witness that runs without its hooking library.

Where the two differ, the name of the tensor, site or instrument says where to look. Each function returns the largest
difference of each prompt [batch] (of weights: of all). Out of scope: what a difference may be (that is a band).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor

from lib.instruments.ablation import run_circuits
from lib.instruments.addresses import HeadsAt
from lib.instruments.attribution import attribution_by_head, logit_lens
from lib.instruments.patching import patch_heads
from lib.instruments.path_patching import path_patch_to_logits
from lib.models.activations import Run, Weights, is_layered

Figure = Callable[[Weights, Run, Run, Tensor], Tensor]  # weights, clean run, other run, answers -> [... batch]

# In the unit of logits. Both runs must have kept rerun.BASE_SITES, pattern, mlp_out and final_scale.
FIGURES: Mapping[str, Figure] = MappingProxyType(
    {
        "logit difference": lambda weights, clean, other, answers: clean.logit_difference(answers),
        "logit lens": lambda weights, clean, other, answers: logit_lens(clean, weights, answers),
        "direct logit attribution": lambda weights, clean, other, answers: attribution_by_head(clean, weights, answers),
        "activation patching of z": lambda weights, clean, other, answers: patch_heads(
            weights, clean, other, answers, site="z", position=clean.last
        ),
        "path patching to the logits": path_patch_to_logits,
    }
)


def removal_effects(
    weights: Weights, clean: Run, other: Run, answers: Tensor, *, circuit: HeadsAt, positions: Mapping[str, Tensor]
) -> Tensor:
    """What removing each head does to the logit difference of a circuit on its own, all else taken from the other run;
    as a share of the clean run's mean logit difference, in size. positions: name -> [batch]. Returns [head batch]."""
    less = [{head: at for head, at in circuit.items() if head != removed} for removed in circuit]
    found = run_circuits(
        weights, clean, [circuit, *less], positions=positions, values=other["z"], answers=answers
    ).double()
    return (found[1:] - found[0]) / clean.logit_difference(answers).double().abs().mean()


def weight_gaps(weights: Weights, witness: Weights) -> dict[str, float]:
    """For each matrix, the largest difference as a share of the witness's largest number; for each bias, as it is.

    Folding may leave a bias that is what remains of large parts that cancel, so its own size says nothing of rounding.
    """
    of_witness = witness.tensors()
    return {name: _gap(tensor, of_witness[name], name) for name, tensor in weights.tensors().items()}


def _gap(mine: Tensor, witness: Tensor, name: str) -> float:
    """Of one tensor at a time, and in place: all at once would hold a large model in float64 a second time."""
    size = witness.abs().max() if name.startswith("W") else 1
    return float(mine.to(torch.float64, copy=True).sub_(witness).abs_().max() / size)


def site_gap(run: Run, witness: Run, site: str) -> Tensor:
    """Largest difference of an activation, as a share of the witness's largest number in that layer and prompt."""
    mine, other = run[site].double(), witness[site]
    if not is_layered(site):
        mine, other = mine[None], other[None]
    return ((mine - other).flatten(2).abs().amax(-1) / other.flatten(2).abs().amax(-1)).amax(0)


def figure_gap(mine: Tensor, witness: Tensor) -> Tensor:
    """Largest difference of a figure, in its own unit. Both are [... batch]."""
    return (mine.double() - witness).abs().reshape(-1, mine.shape[-1]).amax(0)
