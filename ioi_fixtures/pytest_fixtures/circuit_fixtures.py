"""`--claims-circuit FILE`: the claims of a circuit file, one test for each thing the file states, and what they share.

With it, the models named by --claims-model are asked these claims and those that hold of any model; see `selection`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path

import pytest
from torch import Tensor

from ioi_fixtures.circuits.circuit import CIRCUIT_HEADS
from ioi_fixtures.circuits.circuit_file import (
    CircuitFile,
    Edge,
    HeadClass,
    Member,
    by_head,
    read_circuit,
)
from ioi_fixtures.circuits.library import own_circuit, path_of
from ioi_fixtures.circuits.other_heads import other_senders, random_places
from ioi_fixtures.circuits.own_figures import PARTS, at_step, of_kind
from ioi_fixtures.circuits.positions import BEFORE
from ioi_fixtures.published import FOLDER
from ioi_fixtures.pytest_fixtures.model_option import name_and_source
from ioi_fixtures.pytest_fixtures.selection import CIRCUIT, CLAIMS_OF_IT
from ioi_fixtures.pytest_fixtures.subjects import Subject
from ioi_fixtures.sentences.prompts import Batch
from lib.instruments.addresses import HeadsAt, Place
from lib.instruments.attention import attention
from lib.instruments.path_patching import path_patch_to_heads, receivers_of
from lib.judging.references import References, read_references
from lib.judging.statistics import Estimate
from lib.models.activations import Run, Weights
from lib.models.heads import Head
from lib.models.model import Model
from lib.schedules import step_of
from lib.suggestions import suggestion

RANDOM_CIRCUITS = 3
OF_FILES = ("circuit-file/", "behaviour/accuracy")  # what the ids of figures begin with that are asked with a file
WITH_ITS_BANDS = pytest.StashKey[References]()
MEASURED = "the circuit file, measured on other prompts of this model"
# What a claim may ask for, and the things a file states for each of which it is asked.
STATED: Mapping[str, Callable[[CircuitFile], Sequence[object]]] = {
    "head_class": lambda circuit: circuit.classes,
    "member": lambda circuit: circuit.members,
    "attending_class": lambda circuit: [one for one in circuit.classes if one.attends_to],
    "attending_member": lambda circuit: [one for one in circuit.members if one.of.attends_to],
    "writing_class": lambda circuit: [one for one in circuit.classes if one.writes],
    "writing_member": lambda circuit: [one for one in circuit.members if one.of.writes],
    "copying_class": lambda circuit: [one for one in circuit.classes if one.copies],
    "copying_member": lambda circuit: [one for one in circuit.members if one.of.copies],
    "scoring_class": lambda circuit: [one for one in circuit.classes if one.scores],
    "scoring_member": lambda circuit: [one for one in circuit.members if one.of.scores],
    "edge": lambda circuit: circuit.edges,
    "written_figure": lambda circuit: of_kind(circuit.figures, "attribution"),
    "leading_figure": lambda circuit: of_kind(circuit.figures, "leads", "leads-against"),
    "lens_figure": lambda circuit: of_kind(circuit.figures, "logit-lens"),
    "attention_figure": lambda circuit: of_kind(circuit.figures, "attention"),
    "others_attention_figure": lambda circuit: of_kind(circuit.figures, "others-attention"),
    "others_figure": lambda circuit: of_kind(circuit.figures, "others-attribution"),
    "mlp_figure": lambda circuit: of_kind(circuit.figures, "without-mlp"),
    "signals_figure": lambda circuit: of_kind(circuit.figures, "signals"),
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("claims", "circuit claims").addoption(
        "--claims-circuit",
        type=Path,
        metavar="FILE",
        help="Ask the models the claims that this circuit file states (TOML: classes, heads, positions; or the name of "
        "one that comes with the suite; a model that one of those is of finds it by itself) instead of "
        "those that name GPT-2 small's heads.",
    )


def pytest_configure(config: pytest.Config) -> None:
    option = config.option
    if option.claims_circuit is None:
        option.claims_circuit = own_circuit([name_and_source(asked)[1] for asked in option.claims_model or ()])
    if option.claims_circuit is None:
        asked = [Path(config.invocation_params.dir, argument.partition("::")[0]).resolve() for argument in config.args]
        for path in CLAIMS_OF_IT:
            if config.rootpath / path in asked:
                raise pytest.UsageError(f"{path} asks what a circuit file states: add --claims-circuit FILE")
        return
    try:
        option.claims_circuit = path_of(option.claims_circuit)
        circuit = read_circuit(option.claims_circuit)
        steps = {step_of(name_and_source(asked)[1]) for asked in option.claims_model or [str(circuit.model)]}
        at = steps.pop() if len(steps) == 1 else None
        config.stash[CIRCUIT] = circuit._replace(figures=at_step(circuit.figures, at))
        config.stash[WITH_ITS_BANDS] = with_stated_bands(read_references(FOLDER), config.stash[CIRCUIT])
    except (OSError, ValueError) as error:
        raise pytest.UsageError(f"--claims-circuit: {error}") from error


def with_stated_bands(published: References, circuit: CircuitFile) -> References:
    """Published figures, but for those published of this circuit's model, and the bands that a circuit file states:
    those are its own, and nobody published them. Raises ValueError for one of no claim of a circuit file."""
    ours = [id for id in published if id.startswith(OF_FILES)]
    of_parts = [figure.id for figure in of_kind(circuit.figures, *PARTS)]
    for where, ids in (("[bands.{!r}]", circuit.bands), ("the published figure [{!r}]", circuit.figures)):
        for id in ids:
            if id not in ours and id not in of_parts:
                raise ValueError(f"{where.format(id)} is of no claim about a circuit file: {suggestion(id, ours)}")
    own = References({**published, **circuit.figures})
    stated = {
        id: own[id].model_copy(update={**dict(band), "source": MEASURED, "value": ()})
        for id, band in circuit.bands.items()
    }
    return References({**own, **stated})


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A claim is asked of everything a file states; where that is nothing, of None, which `selection` sets aside."""
    for name in STATED:
        if name in metafunc.fixturenames:
            metafunc.parametrize(name, STATED[name](metafunc.config.stash[CIRCUIT]) or [None], ids=str)


@pytest.fixture(scope="session")
def circuit_file(request: pytest.FixtureRequest) -> CircuitFile:
    """What --claims-circuit states."""
    return request.config.stash[CIRCUIT]


@pytest.fixture(scope="session")
def published(request: pytest.FixtureRequest) -> References:
    """Published figures with the bands accepted for them, by id; or the bands that the circuit file states."""
    return request.config.stash.get(WITH_ITS_BANDS, None) or read_references(FOLDER)


@pytest.fixture(scope="session")
def circuit(subject: Subject, model: Model, request: pytest.FixtureRequest) -> HeadsAt:
    """The circuit under test: the file's, or the published one where there is no file. Of a model that has no such
    heads, two a layer: what is asked of that circuit then is how exactly the tools compute. One of the two is at the
    end, since with windows that are short nothing that changes at S2 reaches the answer."""
    stated = request.config.stash.get(CIRCUIT, None)
    if stated is not None:
        return by_head(stated.places)
    if subject.is_shaped_like_gpt2():
        return CIRCUIT_HEADS
    layers, heads = model.weights.n_layers, model.weights.n_heads
    at_s2 = {Head(layer, (layer + 1) % heads): "S2" for layer in range(layers)}
    return at_s2 | {Head(layer, layer % heads): "END" for layer in range(layers)}


@pytest.fixture(scope="session")
def stated_alone(
    circuit_file: CircuitFile, other_circuits: Callable[..., Tensor], abc_means: Tensor
) -> Callable[[frozenset[Place]], Tensor]:
    """F(C \\ K): the circuit without some of its places, on its own. [batch]"""
    whole = circuit_file.places
    without_mates = [one.places - {(head, one.at)} for one in circuit_file.classes for head in one.heads]
    sets = list(dict.fromkeys([frozenset(), *(one.places for one in circuit_file.classes), *without_mates]))
    found = other_circuits([by_head(whole - removed) for removed in sets], abc_means)
    by_set = dict(zip(sets, found, strict=True))
    return lambda removed: by_set[removed]


@pytest.fixture(scope="session")
def model_without_class(
    circuit_file: CircuitFile, at_abc_means: Callable[..., Tensor]
) -> Callable[[HeadClass], Tensor]:
    """F(M \\ K): the model with a class at its ABC means, at the position of that class. [batch]"""
    found = at_abc_means([by_head(one.places) for one in circuit_file.classes])
    by_name = {one.name: row for one, row in zip(circuit_file.classes, found, strict=True)}
    return lambda head_class: by_name[head_class.name]


@pytest.fixture(scope="session")
def stated_random_circuits(
    circuit_file: CircuitFile, other_circuits: Callable[..., Tensor], model: Model, abc_means: Tensor
) -> Tensor:
    """Circuits of as many other heads at the same positions, on their own. [seed batch]"""
    shape = {"n_layers": model.weights.n_layers, "n_heads": model.weights.n_heads}
    drawn = [random_places(circuit_file.places, seed, **shape) for seed in range(RANDOM_CIRCUITS)]
    return other_circuits([by_head(places) for places in drawn], abc_means)


@pytest.fixture(scope="session")
def attends_instead(ioi: Batch, ioi_run: Run) -> Callable[[Member], str]:
    """Where a head attends most from its class's position, and how much where the file says, in words."""

    @cache
    def from_position(at: str) -> Mapping[str, Tensor]:
        where = {name: ioi.positions[name] for name in (*BEFORE[at], at)}
        return {name: attention(ioi_run, query=where[at], key=place).mean(-1) for name, place in where.items()}

    def in_words(member: Member) -> str:
        head, of = member
        of_all = from_position(of.at)
        found = {name: float(attended[head]) for name, attended in of_all.items()}
        found["other words"] = 1 - sum(found.values())
        most, stated = max(found, key=found.get), of.attends_to
        where = "" if most == stated else f" to {most} with {found[most]:.2f},"
        average = float(of_all[stated].mean())
        return f"{head} attends from {of.at}{where} to {stated} with {found[stated]:.2f} (all heads: {average:.2f})"

    return in_words


def writes_instead(who: object, written: Estimate, sign: int) -> str:
    """What heads write, in words. written: their share of the logit difference, times the `sign` that a file states."""
    towards = "for" if written.value * sign > 0 else "against"
    return f"{who} writes {abs(written.value):.0%} of the logit difference {towards} the answer"


def path_in_words(edge: Edge, weights: Weights) -> str:
    """A path, and, where query heads share keys and values, whose are patched: those of whole groups."""
    if edge.input == "q" or weights.architecture.group == 1:
        return str(edge)
    shared = receivers_of(weights, edge.receiver.heads, edge.input)
    names = " ".join(f"{layer}.kv{index}" for layer, index in shared)
    return f"{edge} ({edge.input} of {names}, which whole groups of heads read)"


@pytest.fixture(scope="session")
def patched_edge(
    circuit_file: CircuitFile, model: Model, ioi: Batch, ioi_run: Run, abc_run: Run
) -> Callable[[Edge], Tensor]:
    """The change of the logit difference by patching a path: that from a class, then those from sets of as many other
    heads. [set batch]"""

    @cache
    def change(edge: Edge) -> Tensor:
        others = other_senders(
            edge.sender.heads, edge.receiver.heads, edge.sender.at, circuit_file.places, n_heads=model.weights.n_heads
        )
        patched = path_patch_to_heads(
            model.weights,
            ioi_run,
            abc_run,
            ioi.answers,
            receivers=receivers_of(model.weights, edge.receiver.heads, edge.input),
            inputs=edge.input,
            position=ioi.positions[edge.sender.at],
            senders=[edge.sender.heads, *others],
        )
        return patched - ioi_run.logit_difference(ioi.answers)

    return change


@pytest.fixture(scope="session")
def path_change(patched_edge: Callable[[Edge], Tensor]) -> Callable[[Edge], tuple[Tensor, Tensor]]:
    """How much patching a path changes the logit difference, in size: that from a class, and the mean over sets of as
    many other heads. Each prompt counts with the sign of the mean over prompts. Two tensors [batch]"""

    def change(edge: Edge) -> tuple[Tensor, Tensor]:
        change = patched_edge(edge)
        in_size = change * change.mean(-1, keepdim=True).sign()
        return in_size[0], in_size[1:].mean(0)

    return change
