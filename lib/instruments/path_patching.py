"""Path patching: the effect of a head on the logits, or on other heads' inputs, along direct paths alone.

Follows Wang et al. 2022, App. B, with heads frozen at their outputs z and MLPs recomputed, since they count as part
of the direct path; mlps="frozen" keeps the MLPs too, which leaves the residual connection alone. In the base run a
sender's z becomes, at one position of each prompt, what it is in the source run; a path ends at the final residual
stream or at the q, k or v of receiving heads at that same position. Senders are query heads; where these share keys and
values, a receiver of k or v is a head of those, and moves its whole group. Several heads may send jointly: effects are
not additive. Out of scope: paths between positions, which run through attention and so are paths of other heads.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence

import torch
from torch import Tensor

from lib.instruments.addresses import check_head, check_position
from lib.instruments.rerun import Intervention, Window, place, rerun, row_bytes
from lib.models import forward
from lib.models.activations import Run, Weights
from lib.models.budget import in_batches
from lib.models.forward import Block
from lib.models.heads import Head

INPUTS = ("q", "k", "v")
MLPS = ("recomputed", "frozen")


def path_patch_to_logits(
    weights: Weights,
    base: Run,
    source: Run,
    answers: Tensor,
    *,
    senders: Sequence[Collection[Head]] | None = None,
    mlps: str = "recomputed",
    budget: int | None = None,
) -> Tensor:
    """Logit differences with the path from each sender to the logits patched, at the last position.

    The definition, as passes: run the base prompts with every head's z frozen at the base run's, except the senders'
    at the last position, which is the source run's; MLPs compute; read the logits.
    base must have kept resid_pre and z (and mlp_out, to freeze MLPs); source z. answers: [batch 2]. senders: sets of
    heads that send jointly; None is every head by itself. budget: bytes; see lib.models.budget.
    Returns logit differences, not effects: [layer head batch], or [sender batch] for sets.

    Exact: with attention frozen no position reads another, so the last one alone is computed, through the MLPs above
    the sender. All senders are rows of one batch.
    """
    _check(weights, base, senders, base.last, mlps)

    def measure(sets: Sequence[Collection[Head]], prompts: Tensor) -> Tensor:
        streams = _frozen_streams(weights, layers, base, source, sets, prompts, base.last, mlps)
        (final,) = deque(streams, maxlen=1)  # no other one is kept
        return forward.logit_difference(final, weights, answers[prompts])

    layers = forward.blocks(weights)
    return _by_sender(measure, weights, base, base.logit_difference(answers), senders, weights.n_layers, 1, budget)


def path_patch_to_heads(
    weights: Weights,
    base: Run,
    source: Run,
    answers: Tensor,
    *,
    receivers: Collection[Head],
    inputs: str,
    position: Tensor,
    senders: Sequence[Collection[Head]] | None = None,
    mlps: str = "recomputed",
    budget: int | None = None,
) -> Tensor:
    """Logit differences with the path from each sender to the receivers' q, k or v patched, at `position` [batch].

    The definition, as passes: (1) run the base prompts with every head's z frozen at the base run's, except the
    senders' at `position`, which is the source run's; MLPs compute; note each receiver's input q, k or v at
    `position`. (2) Run the base prompts freely, but with the receivers' input at `position` as noted, all receivers at
    once. Senders that are in no layer below a receiver change nothing. base must have kept rerun.BASE_SITES (and
    mlp_out, to freeze MLPs).
    The other arguments and the result are those of `path_patch_to_logits`.

    Exact: pass (1) is one position, as for the logits. In pass (2) nothing changes before `position` or below the
    receivers, so only the rest is computed; for queries at the last position that is one position.
    """
    _check(weights, base, senders, position, mlps)
    if inputs not in INPUTS:
        raise ValueError(f"inputs is {inputs!r}: receivers take {', '.join(INPUTS)}")
    if not receivers:
        raise ValueError("there are no receivers: give the heads whose input is patched")
    for head in receivers:
        check_head(head, weights, shared=inputs in "kv")
    heads = {layer: sorted(head[1] for head in receivers if head[0] == layer) for layer in {h[0] for h in receivers}}
    layers = forward.blocks(weights)

    def measure(sets: Sequence[Collection[Head]], prompts: Tensor) -> Tensor:
        streams = _frozen_streams(weights, layers, base, source, sets, prompts, position, mlps)
        received = {
            layer: forward.project_input(x, weights, layer, heads[layer], inputs)
            for layer, x in enumerate(streams)
            if layer in heads
        }
        entered = [min(layer for layer in heads if layer > _first_layer(senders)) for senders in sets]
        window = Window.of(prompts, position[prompts], base.last[prompts])
        return rerun(
            weights, layers, base, window, answers, _Receive(entered, heads, inputs, received, position[prompts])
        )

    width = int((base.last - position).max()) + 1
    unpatched = base.logit_difference(answers)
    return _by_sender(measure, weights, base, unpatched, senders, max(heads), width, budget)


def receivers_of(weights: Weights, heads: Collection[Head], inputs: str) -> list[Head]:
    """The receivers through which `heads` read: the heads themselves for q, and for k and v those of keys and values
    that they share, perhaps with others."""
    group = weights.architecture.group if inputs in ("k", "v") else 1
    return sorted({Head(layer, index // group) for layer, index in heads})


class _Receive(Intervention):
    """Rows whose receivers' inputs are as pass (1) left them; each joins at the first receiver above its senders."""

    def __init__(
        self, entered: list[int], heads: dict[int, list[int]], site: str, received: dict[int, Tensor], position: Tensor
    ):
        self.entered, self.heads, self.site, self.received, self.position = entered, heads, site, received, position

    def clones(self, layer: int) -> int:
        return self.entered.count(layer)

    def edit(self, site: str, layer: int, activation: Tensor, window: Window) -> Tensor:
        if site == self.site and layer in self.heads:
            for i, head in enumerate(self.heads[layer]):
                place(activation[:, :, :, head], self.received[layer][: len(activation), :, i], self.position, window)
        return activation


def _frozen_streams(
    weights: Weights,
    layers: Sequence[Block],
    base: Run,
    source: Run,
    sets: Sequence[Collection[Head]],
    prompts: Tensor,
    position: Tensor,
    mlps: str,
) -> Iterator[Tensor]:
    """Residual streams at `position`, entering each layer and then the final one, with all heads but senders frozen.

    sets: in the order of their first layers. Yields [sender prompt d_model], of the senders below.
    """
    position = position[prompts]
    first = [_first_layer(senders) for senders in sets]
    x = base["resid_pre"].new_empty(0, len(prompts), weights.d_model)
    for layer, block in enumerate(layers):
        yield x
        entering = base["resid_pre"][layer, prompts, position].expand(first.count(layer), -1, -1)
        where = (layer, prompts, position)
        sends = torch.tensor(
            [[(layer, h) in senders for h in range(weights.n_heads)] for senders in sets[: len(x) + len(entering)]],
            device="cpu",
        )
        written = forward.written_by_heads(base["z"][where], block)
        if sends.any():
            written = written + _sent(source["z"][where] - base["z"][where], weights.W_O[layer].to(x), sends.to(x))
        entering = torch.cat([x, entering])
        x = entering + forward.written_by_attention(written, block, weights)
        if mlps == "frozen":
            x += base["mlp_out"][where]
        else:
            forward.add_mlp_(x, block, weights, entering)
    yield x


def _sent(change: Tensor, W_O: Tensor, sends: Tensor) -> Tensor:
    """What senders write differently. change: [prompt head d_head]; sends: [sender head]. [sender prompt d_model]"""
    written = change.transpose(0, 1) @ W_O  # head prompt d_model
    return torch.tensordot(sends, written, 1)


def _by_sender(
    measure: Callable[[Sequence[Collection[Head]], Tensor], Tensor],
    weights: Weights,
    base: Run,
    unpatched: Tensor,
    senders: Sequence[Collection[Head]] | None,
    below: int,
    width: int,
    budget: int | None,
) -> Tensor:
    """measure(sets, prompts) of the sets with a sender under layer `below`; the others stand unpatched.

    Sets are measured in the order of their first layers, since that is the order in which rows join.
    """
    singles = [[Head(layer, head)] for layer in range(weights.n_layers) for head in range(weights.n_heads)]
    sets = singles if senders is None else senders
    result = unpatched.expand(len(sets), -1).clone()
    order = [i for i in range(len(sets)) if sets[i] and _first_layer(sets[i]) < below]
    order.sort(key=lambda i: _first_layer(sets[i]))
    if order:
        result[order] = in_batches(
            lambda prompts: measure([sets[i] for i in order], prompts),
            torch.arange(len(base.tokens), device=base.tokens.device),
            rows=len(order) * width,
            row_bytes=row_bytes(weights, base),
            budget=budget,
        )
    return result.view(weights.n_layers, weights.n_heads, -1) if senders is None else result


def _first_layer(senders: Collection[Head]) -> int:
    return min(head[0] for head in senders)


def _check(
    weights: Weights, base: Run, senders: Sequence[Collection[Head]] | None, position: Tensor, mlps: str
) -> None:
    for head in (head for group in senders or () for head in group):
        check_head(head, weights)
    check_position("position", position, base.last)
    if mlps not in MLPS:
        raise ValueError(f"mlps is {mlps!r}: they are {' or '.join(MLPS)}")
