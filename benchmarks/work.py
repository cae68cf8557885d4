"""What is timed: each piece of work as one call of an instrument, and as the passes of a plain hook loop.

The heads are those of the published circuit at their addresses, since the work depends on their layers and positions.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from ioi_fixtures.circuits.circuit import BACKUP_NAME_MOVERS, CIRCUIT_HEADS, INDUCTION, NAME_MOVERS, S_INHIBITION
from ioi_fixtures.controls import hook_loops
from ioi_fixtures.controls.random_model import Prompts, other_names, other_subject, prompts, random_model
from lib.instruments.ablation import means_by_group, run_circuits
from lib.instruments.patching import HEAD_SITES, STREAM_SITES, patch_heads, patch_stream
from lib.instruments.path_patching import path_patch_to_heads, path_patch_to_logits
from lib.models.activations import Run
from lib.models.heads import Head, heads
from lib.models.model import Model

# (IO, S1, S2, END) of prompts of 15 to 21 tokens, counted on templates of Wang et al. 2022, App. E, and their variants.
LAYOUTS = tuple(
    layout
    for io, s1, s2, end in (
        (2, 4, 10, 14),
        (2, 4, 14, 18),
        (2, 4, 10, 16),
        (2, 4, 12, 18),
        (1, 3, 11, 16),
        (4, 6, 12, 16),
        (2, 4, 11, 14),
        (6, 8, 16, 20),
        (2, 4, 13, 19),
        (1, 3, 10, 15),
    )
    for layout in ((io, s1, s2, end), (s1, io, s2, end))
)


@dataclass(frozen=True, eq=False)
class Case:
    """A model, prompts, and cached runs of them: clean, with S2 alone changed (pair A), with all names changed (B)."""

    model: Model
    batch: Prompts
    clean: Run
    pairs: Mapping[str, Run]


@dataclass(frozen=True, eq=False)
class Work:
    """One piece of work. `samples` are some of the loop's items: where its value is in the table, and how to get it."""

    name: str
    fast: Callable[[], Tensor]
    items: int
    passes_per_item: int
    samples: tuple[tuple[Callable[[Tensor], Tensor], Callable[[], Tensor]], ...]


def make_case(n: int, *, n_embd: int = 768, vocab_size: int = 50257, device: str = "cpu") -> Case:
    """A random model of GPT-2 small's depth and head width, and `n` prompts."""
    shape = {"n_layer": 12, "n_head": n_embd // 64, "n_embd": n_embd, "vocab_size": vocab_size}
    return case_on(random_model(**shape, dtype="float32", device=device), n, vocab_size)


def case_on(model: Model, n: int, vocab_size: int) -> Case:
    """A model and its runs on `n` prompts of random tokens."""
    batch = prompts(n, vocab_size=vocab_size, layouts=LAYOUTS).to(model.device)
    pairs = {"A": other_subject(batch).run(model), "B": other_names(batch).run(model)}
    return Case(model, batch, batch.run(model), pairs)


def at(index: tuple[int, ...] | int) -> Callable[[Tensor], Tensor]:
    """Where a loop's value stands in the instrument's table."""
    return lambda table: table[index]


def to_logits(case: Case, sampled: Sequence[Head]) -> Work:
    """Every head's path to the logits; the loop patches those of some."""
    model, runs = case.model, (case.clean, case.pairs["B"], case.batch.answers)
    return Work(
        "heads to logits",
        partial(path_patch_to_logits, model.weights, *runs),
        items=model.weights.n_layers * model.weights.n_heads,
        passes_per_item=1,
        samples=tuple((at(head), partial(hook_loops.path_to_logits, model, *runs, [head])) for head in sampled),
    )


def to_heads(
    case: Case, name: str, receivers: Collection[Head], inputs: str, where: str, sampled: Sequence[Head]
) -> Work:
    """Every head's path to an input of some others, from all layers below the last of them."""
    model, runs = case.model, (case.clean, case.pairs["B"], case.batch.answers)
    path = {"receivers": receivers, "position": case.batch.positions[where]}
    return Work(
        f"heads to {name}",
        partial(path_patch_to_heads, model.weights, *runs, inputs=inputs, **path),
        items=model.weights.n_heads * max(layer for layer, _ in receivers),
        passes_per_item=2,
        samples=tuple(
            (at(head), partial(hook_loops.path_to_heads, model, *runs, [head], site=inputs, **path)) for head in sampled
        ),
    )


def alone(case: Case, name: str, circuits: Sequence[Mapping[Head, str]], sampled: Sequence[int]) -> Work:
    """Circuits on their own, all else at its mean by template."""
    values, answers = means_by_group(case.pairs["B"]["z"], case.batch.template), case.batch.answers
    settings = {"positions": case.batch.positions, "values": values, "answers": answers}
    return Work(
        name,
        partial(run_circuits, case.model.weights, case.clean, circuits, **settings),
        items=len(circuits),
        passes_per_item=1,
        samples=tuple(
            (at(i), partial(hook_loops.run_circuit, case.model, case.clean, circuits[i], **settings)) for i in sampled
        ),
    )


def path_works(case: Case) -> Iterator[Work]:
    """The five path-patching experiments: every head sends."""
    yield to_logits(case, heads("0.1 5.5 9.9"))
    for name, receivers, inputs, where in (
        ("name movers' queries at END", NAME_MOVERS, "q", "END"),
        ("S-inhibition values at S2", S_INHIBITION, "v", "S2"),
        ("S-inhibition keys at S2", S_INHIBITION, "k", "S2"),
        ("induction keys at S1+1", INDUCTION, "k", "S1+1"),
    ):
        yield to_heads(case, name, receivers, inputs, where, heads("0.1 4.11"))


def minimality_works(case: Case) -> Iterator[Work]:
    """Each circuit head with a set K: the circuit without K, and without K and the head; 52 circuits in all."""
    without = [gone for head in CIRCUIT_HEADS for gone in (removed_with(head), {*removed_with(head), head})]
    circuits = [{head: where for head, where in CIRCUIT_HEADS.items() if head not in gone} for gone in without]
    yield alone(case, "minimality, 52 circuits", circuits, (0, 20, 51))


def removed_with(head: Head) -> set[Head]:
    """A set K for each head: its neighbours at its position; for a backup, the name movers and earlier backups."""
    if head in BACKUP_NAME_MOVERS:
        return {*NAME_MOVERS, *BACKUP_NAME_MOVERS[: BACKUP_NAME_MOVERS.index(head)]}
    if head in NAME_MOVERS:
        return {*NAME_MOVERS[: NAME_MOVERS.index(head)]}
    near = range(head.layer - 1, head.layer + 2)
    peers = {other for other, where in CIRCUIT_HEADS.items() if where == CIRCUIT_HEADS[head] and other.layer in near}
    return peers - {head}


def stream_works(case: Case, *, pair: str) -> Iterator[Work]:
    """Residual stream, attention and MLP outputs, clean into changed, by layer and position."""
    runs = (case.pairs[pair], case.clean, case.batch.answers)
    columns, layers = case.batch.tokens.shape[1], case.model.weights.n_layers
    for site in STREAM_SITES:
        yield Work(
            f"{site} by layer and position, pair {pair}",
            partial(patch_stream, case.model.weights, *runs, site=site),
            items=layers * columns,
            passes_per_item=1,
            samples=tuple(
                (at(where), partial(hook_loops.patch_stream, case.model, *runs, site, *where))
                for where in ((0, 10), (layers // 2, 14))
            ),
        )


def head_works(case: Case, *, pair: str) -> Iterator[Work]:
    """Every head's output, query, key, value and pattern, clean into changed, at all positions."""
    runs = (case.pairs[pair], case.clean, case.batch.answers)
    for site in HEAD_SITES:
        yield Work(
            f"heads' {site}, pair {pair}",
            partial(patch_heads, case.model.weights, *runs, site=site),
            items=144,
            passes_per_item=1,
            samples=tuple(
                (at(head), partial(hook_loops.patch_head, case.model, *runs, site, head)) for head in heads("0.1 8.6")
            ),
        )


PARTS: Mapping[str, Callable[[Case], Iterator[Work]]] = {
    "paths": path_works,
    "minimality": minimality_works,
    "maps-A": partial(stream_works, pair="A"),
    "heads-A": partial(head_works, pair="A"),
    "maps-B": partial(stream_works, pair="B"),
    "heads-B": partial(head_works, pair="B"),
}
