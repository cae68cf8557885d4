"""The plain way: one hooked forward pass an intervention. The reference that the fast instruments are compared with.

Written from the definitions alone, through `Model.run(edits=...)`, and with nothing from lib/instruments. Each function
measures one intervention and returns the logit difference of every prompt. [batch]
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import torch
from torch import Tensor

from lib.models.activations import Run
from lib.models.heads import Head
from lib.models.model import Edit, Model


def put(value: Tensor, index: tuple) -> Callable[[Tensor], Tensor]:
    """A change that sets activation[index] to value."""

    def change(activation: Tensor) -> Tensor:
        activation[index] = value
        return activation

    return change


def _prompts(run: Run) -> Tensor:
    return torch.arange(len(run.tokens), device=run.tokens.device)


def edited(model: Model, run: Run, answers: Tensor, edits: list[Edit]) -> Tensor:
    """The logit difference of the run's prompts under some edits."""
    return model.run(run.tokens, last=run.last, edits=edits).logit_difference(answers)


def patch_stream(model: Model, base: Run, source: Run, answers: Tensor, site: str, layer: int, column: int) -> Tensor:
    """`base` with one site's activation at one column taken from `source`."""
    index = (slice(None), column)
    return edited(model, base, answers, [Edit(site, layer, put(source[site][layer][index], index))])


def patch_head(
    model: Model, base: Run, source: Run, answers: Tensor, site: str, head: Head, position: Tensor | None = None
) -> Tensor:
    """`base` with a head's z, q, k, v or pattern from `source`, at all positions or one (pattern: the query)."""
    prompt = _prompts(base)
    if site == "pattern":
        index = (slice(None), head.index) if position is None else (prompt, head.index, position)
    else:
        index = (slice(None), slice(None), head.index) if position is None else (prompt, position, head.index)
    return edited(model, base, answers, [Edit(site, head.layer, put(source[site][head.layer][index], index))])


def _frozen(
    model: Model, clean: Run, corrupted: Run, senders: Collection[Head], position: Tensor, mlps: str
) -> list[Edit]:
    """Every head frozen at its clean z, the senders at `position` at their corrupted one; MLPs computed, or frozen."""
    edits, prompt = [], _prompts(clean)
    for layer in range(model.weights.n_layers):
        z = clean["z"][layer].clone()
        for sender in senders:
            if sender.layer == layer:
                index = (prompt, position, sender.index)
                z[index] = corrupted["z"][layer][index]
        edits.append(Edit("z", layer, put(z, (...,))))
        if mlps == "frozen":
            edits.append(Edit("mlp_out", layer, put(clean["mlp_out"][layer], (...,))))
    return edits


def path_to_logits(
    model: Model,
    clean: Run,
    corrupted: Run,
    answers: Tensor,
    senders: Collection[Head],
    *,
    mlps: str = "recomputed",
    position: Tensor | None = None,
) -> Tensor:
    """Wang et al. 2022, App. B with the final residual stream as receiver: the frozen pass's own logits."""
    position = clean.last if position is None else position
    return edited(model, clean, answers, _frozen(model, clean, corrupted, senders, position, mlps))


def path_to_heads(
    model: Model,
    clean: Run,
    corrupted: Run,
    answers: Tensor,
    senders: Collection[Head],
    receivers: Collection[Head],
    site: str,
    position: Tensor,
    *,
    mlps: str = "recomputed",
    freely: bool = True,
) -> Tensor:
    """App. B: a frozen pass for the receivers' inputs, then a pass with these at `position` and the rest free.

    freely=False is a wrong variant, for tests: the last pass keeps the other heads frozen.
    """
    edits = _frozen(model, clean, corrupted, senders, position, mlps)
    frozen = model.run(clean.tokens, last=clean.last, keep=[site], edits=edits)
    prompt, edits = _prompts(clean), []
    for receiver in receivers:
        index = (prompt, position, receiver.index)
        edits.append(Edit(site, receiver.layer, put(frozen[site][receiver.layer][index], index)))
    if not freely:
        heads = range(model.weights.n_heads)
        for layer in range(model.weights.n_layers):
            others = [head for head in heads if (layer, head) not in receivers]
            index = (slice(None), slice(None), others)
            edits.append(Edit("z", layer, put(clean["z"][layer][index], index)))
    return edited(model, clean, answers, edits)


def run_circuit(
    model: Model,
    run: Run,
    kept: Mapping[Head, str | tuple[str, ...]],
    positions: Mapping[str, Tensor],
    values: Tensor,
    answers: Tensor,
    *,
    union: bool = False,
) -> Tensor:
    """Every head replaced by `values`, except where `kept` keeps it: each prompt at its own position.

    union=True is a wrong variant that has been published: every prompt keeps the positions of all prompts.
    """
    keep = values.new_zeros(values.shape[:-1], dtype=torch.bool)  # layer batch pos head
    prompt = slice(None) if union else _prompts(run)
    for head, names in kept.items():
        for name in [names] if isinstance(names, str) else names:
            keep[head.layer, prompt, positions[name], head.index] = True
    edits = [
        Edit("z", layer, lambda z, k=keep[layer], v=values[layer]: torch.where(k[..., None], z, v))
        for layer in range(model.weights.n_layers)
    ]
    return edited(model, run, answers, edits)


def knock_out(
    model: Model,
    run: Run,
    heads: Mapping[Head, str | tuple[str, ...]],
    positions: Mapping[str, Tensor],
    values: Tensor,
    answers: Tensor,
) -> Tensor:
    """Some heads replaced by `values` at their positions, everything else intact."""
    edits, prompt = [], _prompts(run)
    for head, names in heads.items():
        for name in [names] if isinstance(names, str) else names:
            index = (prompt, positions[name], head.index)
            edits.append(Edit("z", head.layer, put(values[head.layer][index], index)))
    return edited(model, run, answers, edits)
