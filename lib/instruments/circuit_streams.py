"""Many circuits at once, each alone: every stream computed once for all the circuits it is the same in.

With all other head outputs replaced by constants, positions where no circuit keeps a head are the same in every
circuit. At a position where some do, two circuits share a stream up to the first layer where they keep different
heads there, or where the kept heads read streams that differ. `Plan` works that out from the addresses alone, before
any tensor is touched; `circuit_values` then computes each distinct stream once. See ablation.run_circuits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from lib.instruments.addresses import HeadsAt, check_places, places
from lib.models import forward
from lib.models.activations import Run, Weights
from lib.models.forward import Block

_END = "the last position"  # a slot's name where no circuit names the last position itself


class Stream(NamedTuple):
    """One distinct stream at a slot after a layer's attention: where it comes from, and what it reads there."""

    parent: int  # the stream it was before this layer
    kept: tuple[int, ...]  # the heads kept there
    sources: tuple[int, ...]  # the stream read at each slot it can see, if a head is kept


@dataclass(frozen=True, eq=False)
class Plan:
    """The distinct streams of some circuits. A slot is a position where some circuit keeps a head, or the last one."""

    positions: Tensor  # slot batch; the last slot is the last position
    sees: tuple[tuple[int, ...], ...]  # slot -> the slots at or before it, in any prompt
    streams: tuple[tuple[tuple[Stream, ...], ...], ...]  # layer slot -> distinct streams
    final: tuple[int, ...]  # circuit -> its stream at the last position
    last_reader: int  # the top layer where a head is kept: above it, only the last position matters

    @classmethod
    def of(cls, weights: Weights, circuits: Sequence[HeadsAt], positions: Mapping[str, Tensor], last: Tensor) -> Plan:
        """The plan of `circuits` on prompts that end at `last` [batch]. Raises ValueError; see run_circuits."""
        check_places(circuits, weights, positions, last)
        kept = [places(heads) for heads in circuits]
        named = {name for circuit in kept for _, name in circuit}
        ends = [name for name in sorted(named) if torch.equal(positions[name], last)][:1] or [_END]
        slots = [*sorted(named - set(ends)), *ends]
        where = torch.stack([positions[name] if name in named else last for name in slots])
        _check_apart(slots, where)
        order = (where[None] <= where[:, None]).any(-1).tolist()  # slot, slot it may see
        sees = tuple(tuple(t for t in range(len(slots)) if order[s][t]) for s in range(len(slots)))

        current = [[0] * len(circuits) for _ in slots]  # slot circuit -> stream
        layers = []
        for layer in range(weights.n_layers):
            wanted = [_streams(layer, slot, s, kept, current, sees[s]) for s, slot in enumerate(slots)]
            distinct = [tuple(dict.fromkeys(streams)) for streams in wanted]
            current = [[distinct[s].index(stream) for stream in wanted[s]] for s in range(len(slots))]
            layers.append(tuple(distinct))
        readers = [head[0] for circuit in kept for head, _ in circuit]
        return cls(where, sees, tuple(layers), tuple(current[-1]), max(readers, default=-1))

    def most_streams(self) -> int:
        """The most streams a prompt has at any layer."""
        return max(sum(len(distinct) for distinct in slots) for slots in self.streams)

    def heads(self, layer: int) -> list[int]:
        """The heads some circuit keeps in `layer`."""
        return sorted({head for slot in self.streams[layer] for stream in slot for head in stream.kept})


def _streams(
    layer: int, name: str, slot: int, kept: list[frozenset], current: list[list[int]], sees: tuple[int, ...]
) -> list[Stream]:
    """The stream of each circuit at one slot after the attention of `layer`."""
    wanted = []
    for c, circuit in enumerate(kept):
        heads = tuple(sorted(head[1] for head, where in circuit if where == name and head[0] == layer))
        wanted.append(Stream(current[slot][c], heads, tuple(current[t][c] for t in sees) if heads else ()))
    return wanted


def _check_apart(slots: Sequence[str], where: Tensor) -> None:
    for s, name in enumerate(slots):
        for t, other in enumerate(slots[:s]):
            same = (where[s] == where[t]).nonzero()
            if len(same):
                raise ValueError(
                    f"positions {other!r} and {name!r} are the same token in prompt {int(same[0])}: "
                    "name a position once, or measure such prompts apart"
                )


def circuit_values(
    weights: Weights, layers: Sequence[Block], run: Run, plan: Plan, values: Tensor, answers: Tensor, prompts: Tensor
) -> Tensor:
    """Logit differences of the plan's circuits on `prompts` [prompt], indices into `run`. Returns [circuit prompt]."""
    where = plan.positions[:, prompts]  # slot prompt
    columns = torch.arange(run.tokens.shape[1], device=prompts.device)
    elsewhere = (columns <= run.last[prompts, None]) & (columns != where[..., None]).all(0)  # prompt pos
    row, position = elsewhere.nonzero(as_tuple=True)
    embedded = run["resid_pre"][0]
    rest = embedded[prompts[row], position]  # token d_model
    slots = [embedded[prompts, at][None] for at in where]  # of [stream prompt d_model]

    for layer, block in enumerate(layers):
        heads = plan.heads(layer)
        if heads:
            part = block.only(heads)
            shape = (*elsewhere.shape, len(heads), weights.d_head)
            past_k, past_v = rest.new_zeros(shape), rest.new_zeros(shape)
            _, k, past_v[row, position] = forward.project(rest, part, weights)
            past_k[row, position] = forward.ready_keys(k, part, weights, position)
            projected = [_ready(x, part, weights, at) for x, at in zip(slots, where[-len(slots) :], strict=True)]
        before, slots = slots, []
        first = len(where) - len(before)
        window = weights.architecture.window(layer)
        for s, streams in enumerate(plan.streams[layer][first:], start=first):
            value = values[layer, prompts, where[s]]  # prompt head d_head
            entering = before[s - first][[stream.parent for stream in streams]]
            written = forward.written_by_heads(value, block).repeat(len(streams), 1, 1)  # by the constants
            readers = [i for i, stream in enumerate(streams) if stream.kept]
            if readers:
                reading = [streams[i] for i in readers]
                seen = list(plan.sees[s])
                at = where[s, :, None]
                z = forward.attend(
                    projected[s][0][[stream.parent for stream in reading], :, None],
                    *(_sources(projected, i, seen, reading) for i in (1, 2)),
                    past_k=past_k,
                    past_v=past_v,
                    sees_past=(elsewhere & forward.visible(at, columns, window))[:, None],
                    sees=forward.visible(at, where[seen].T, window)[:, None],
                    cap=weights.architecture.attention_cap,
                )[:, :, 0]
                kept = torch.tensor([[head in stream.kept for head in heads] for stream in reading], device=z.device)
                change = (z - value[:, heads]) * kept[:, None, :, None]
                written[readers] += change.flatten(-2) @ part.W_O
            slots.append((entering + forward.written_by_attention(written, block, weights), entering))
        if layer < plan.last_reader:
            entering = rest
            rest = rest + forward.combine(values[layer, prompts[row], position], block, weights)
            forward.add_mlp_(rest, block, weights, entering)
        else:
            slots = slots[-1:]  # no head reads another position again
        for x, entering in slots:
            forward.add_mlp_(x, block, weights, entering)
        slots = [x for x, _ in slots]
    return forward.logit_difference(slots[-1], weights, answers[prompts])[list(plan.final)]


def _ready(x: Tensor, part: Block, weights: Weights, position: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """q, k and v of streams [stream prompt d_model] at one position a prompt, ready to meet each other."""
    q, k, v = forward.project(x, part, weights)
    return (
        forward.ready_queries(q, part, weights, position),
        forward.ready_keys(k, part, weights, position),
        v,
    )


def _sources(projected: list, which: int, seen: list[int], reading: list[Stream]) -> Tensor:
    """Keys (which = 1) or values (2) at the slots each reading stream sees. [stream prompt slot head d_head]"""
    found = [projected[t][which][[stream.sources[i] for stream in reading]] for i, t in enumerate(seen)]
    return torch.stack(found, 2)
