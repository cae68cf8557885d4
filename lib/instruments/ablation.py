"""Ablation of attention heads: circuits alone (everything else replaced), and heads knocked out of an intact model.

Follows Wang et al. 2022, §4 and App. E: what is replaced is a head's output z, at one position of each prompt; MLPs
are left to compute; replacement values are means over a reference run by group of prompts, zeros, or another run's z.
Every keep or knock-out is per prompt: prompt i keeps a head at its own position, never at another prompt's.
Out of scope: ablating MLPs, patterns or edges, and choosing what to ablate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from lib.instruments.addresses import HeadsAt, check_places, places
from lib.instruments.circuit_streams import Plan, circuit_values
from lib.instruments.rerun import Intervention, Window, place, rerun, row_bytes
from lib.models import forward
from lib.models.activations import Run, Weights
from lib.models.budget import in_batches, room_for


def means_by_group(z: Tensor, groups: Tensor, *, wanted: Tensor | None = None) -> Tensor:
    """Mean of head outputs over the prompts of a group, given to every prompt that wants that group.

    z: [layer batch pos head d_head] of a reference run. groups: [batch], its prompts' groups; the prompts of a group
    must share one layout, or the mean mixes positions. wanted: the group of each prompt to be ablated, where these are
    not the reference prompts themselves. Returns [layer wanted pos head d_head]. Raises ValueError for a group that
    the reference run does not have.
    """
    wanted = groups if wanted is None else wanted
    names, member = groups.unique(return_inverse=True)
    column = torch.searchsorted(names, wanted).clamp(max=len(names) - 1)
    if bool((names[column] != wanted).any()):
        missing = wanted[names[column] != wanted].unique().tolist()
        raise ValueError(f"no reference prompt is in group {missing}: draw reference prompts from the same groups")
    sums = z.new_zeros(z.shape[0], len(names), *z.shape[2:]).index_add_(1, member, z)
    means = sums / member.bincount().view(-1, 1, 1, 1)
    room, filled = room_for((len(z), len(wanted), *z.shape[2:]), means)
    torch.index_select(means, 1, column, out=room)
    filled()
    return room


def run_circuits(
    weights: Weights,
    run: Run,
    circuits: Sequence[HeadsAt],
    *,
    positions: Mapping[str, Tensor],
    values: Tensor,
    answers: Tensor,
    budget: int | None = None,
) -> Tensor:
    """Logit differences of many circuits on their own: every head outside is replaced, at every position.

    circuits: each maps a head to the name, or names, of the positions where it is kept; everywhere else its z is
    `values`. positions: name -> [batch]. values: [layer batch pos head d_head]. run: the prompts, any run of them that
    kept "resid_pre". answers: [batch 2]. budget: bytes; see lib.models.budget. Returns [circuit batch].

    Exact, and the same as one pass a circuit: with every other output replaced by a constant, streams at different
    positions meet only in the kept heads. A stream is therefore computed once for all circuits that agree on
    everything it has read so far, and the streams no circuit keeps a head at once for all of them.
    Raises ValueError for an unknown position name, a position outside the prompt, or two that coincide in a prompt.
    """
    plan = Plan.of(weights, circuits, positions, run.last)
    _check_values(values, run, weights)
    layers = forward.blocks(weights)
    return in_batches(
        lambda prompts: circuit_values(weights, layers, run, plan, values, answers, prompts),
        torch.arange(len(run.tokens), device=run.tokens.device),
        rows=plan.most_streams() + run.tokens.shape[1],
        row_bytes=row_bytes(weights, run),
        budget=budget,
    )


def knock_out(
    weights: Weights,
    run: Run,
    knockouts: Sequence[HeadsAt],
    *,
    positions: Mapping[str, Tensor],
    values: Tensor,
    answers: Tensor,
    budget: int | None = None,
) -> Tensor:
    """Logit differences with sets of heads knocked out of an otherwise intact model, which recomputes all the rest.

    knockouts: each maps a head to the name, or names, of the positions where its z becomes `values`; the other
    arguments are those of `run_circuits`. run must have kept the sites of `rerun.BASE_SITES`. Returns [knockout batch].

    Exact: what stands before the first such position, or below the first such layer, is read from the cached run.
    """
    _check_values(values, run, weights)
    check_places(knockouts, weights, positions, run.last)
    layers = forward.blocks(weights)
    result = run.logit_difference(answers).expand(len(knockouts), -1).clone()
    for names in sorted({_names(heads) for heads in knockouts if heads}):
        # Sets that start at the same position share one rerun, each a row, in the order of their first layers.
        order = [i for i, heads in enumerate(knockouts) if heads and _names(heads) == names]
        order.sort(key=lambda i: _first_layer(knockouts[i]))
        rows = [knockouts[i] for i in order]
        first = torch.stack([positions[name] for name in names]).amin(0)

        def measure(prompts: Tensor, rows: list[HeadsAt] = rows, first: Tensor = first) -> Tensor:
            window = Window.of(prompts, first[prompts], run.last[prompts])
            return rerun(weights, layers, run, window, answers, _KnockOut(rows, positions, values))

        result[order] = in_batches(
            measure,
            torch.arange(len(run.tokens), device=run.tokens.device),
            rows=len(rows) * int((run.last - first).max() + 1),
            row_bytes=row_bytes(weights, run),
            budget=budget,
        )
    return result


class _KnockOut(Intervention):
    """Each row leaves the cached run in the first layer where it has a head knocked out."""

    def __init__(self, rows: list[HeadsAt], positions: Mapping[str, Tensor], values: Tensor):
        self.rows, self.positions, self.values = rows, positions, values

    def clones(self, layer: int) -> int:
        return sum(_first_layer(heads) == layer for heads in self.rows)

    def edit(self, site: str, layer: int, activation: Tensor, window: Window) -> Tensor:
        if site != "z":
            return activation
        for row, heads in enumerate(self.rows[: len(activation)]):
            for head, name in places(heads):
                if head[0] == layer:
                    position = self.positions[name][window.prompts]
                    value = self.values[layer, window.prompts, position, head[1]]
                    place(activation[row, :, :, head[1]], value, position, window)
        return activation


def _names(heads: HeadsAt) -> tuple[str, ...]:
    return tuple(sorted({name for _, name in places(heads)}))


def _first_layer(heads: HeadsAt) -> int:
    return min(head[0] for head in heads)


def _check_values(values: Tensor, run: Run, weights: Weights) -> None:
    expected = (weights.n_layers, *run.tokens.shape, weights.n_heads, weights.d_head)
    if values.shape != expected:
        raise ValueError(
            f"values has shape {tuple(values.shape)}, but [layer batch pos head d_head] is {expected} here: "
            "take them from a run of prompts as many and as wide, or from means_by_group"
        )
