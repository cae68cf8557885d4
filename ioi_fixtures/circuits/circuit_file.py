"""A circuit as a file: classes of heads, where they work, and what is claimed of them. Read from TOML, strictly.

    model = "which model this is, in words"           # optional; or { id = "its name on the hub", revision = "..." }
    source = "whose circuit this is"                  # optional
    bos = true                                        # optional: prompts begin with the start token, or do not
    complete = false                                  # optional: these heads are not said to do the task alone
    published = "published.toml"                      # optional: figures of this model, beside this file
    [classes."name mover"]
    heads = "3.0 3.2"
    at = "END"                                        # where they work: IO, S1, S1+1, S2 or END
    attends_to = "IO"                                 # optional: they attend there more than other heads
    writes = "answer"                                 # optional: for the "answer", or "against" it
    copies = "for"                                    # optional: they write the name they attend to, or "against" it
    scores = "induction"                              # optional: on random tokens; or "duplicate", "previous" (token)
    reads = [{ from = "S-inhibition", input = "q" }]  # optional: whose output reaches their q, k or v
    [bands."circuit-file/attention"]                  # optional: another band for a claim about this model
    says = "0.31 on 1,000 prompts of seed 7"          # what was measured, on other prompts than the claims'
    accept = { above = 0.2 }
    why = "heads here attend to two tokens at once"

A path stays at one position, so a class reads queries from heads at its own position, and keys or values from heads at
that position or an earlier one. Everything a class does not say is not claimed. A file with published figures may have
no classes. What is wrong is refused by name.
Out of scope: whether a model has the heads (`subjects`), and whether the claims hold (claims/test_circuit_file.py).
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, NamedTuple, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from ioi_fixtures.circuits.own_figures import classes_of, heads_of, read_figures
from ioi_fixtures.circuits.positions import BEFORE
from lib.instruments.addresses import Place
from lib.judging.references import Band, References
from lib.models.heads import Head, heads
from lib.suggestions import suggestion

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def _one_of(*known: str) -> BeforeValidator:
    def check(value: object) -> object:
        if value not in known:
            raise ValueError(f"{value!r} is unknown: {suggestion(str(value), known)}")
        return value

    return BeforeValidator(check)


def _read_heads(text: object) -> tuple[Head, ...]:
    if not isinstance(text, str) or not text.split():
        raise ValueError(f'{text!r} names no heads: write them as "9.9 9.6"')
    return heads(text)


Score = Literal["previous", "duplicate", "induction"]
Position = Annotated[str, _one_of(*BEFORE)]


class Read(BaseModel):
    """Whose output a class reads, and into which of its inputs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sender: str = Field(alias="from")
    input: Annotated[str, _one_of("q", "k", "v")]


class StatedBand(BaseModel):
    """A band that a file states in place of the one that follows from publications."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    says: str = Field(min_length=1)
    accept: Band
    why: str = Field(min_length=1)


class HubModel(BaseModel):
    """A model by its name on the hub, at one of its revisions."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(min_length=1)
    revision: str = ""

    def __str__(self) -> str:
        return f"{self.id}@{self.revision}" if self.revision else self.id


class HeadClass(BaseModel):
    """Heads that do the same thing at the same position."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    heads: Annotated[tuple[Head, ...], BeforeValidator(_read_heads)]
    at: Position
    attends_to: Position | None = None
    writes: Annotated[Literal["answer", "against"], _one_of("answer", "against")] | None = None
    copies: Annotated[Literal["for", "against"], _one_of("for", "against")] | None = None
    scores: Annotated[Score, _one_of(*get_args(Score))] | None = None
    reads: tuple[Read, ...] = ()

    @property
    def places(self) -> frozenset[Place]:
        """Its heads, each with the position."""
        return frozenset((head, self.at) for head in self.heads)

    @property
    def sign(self) -> int:
        """-1 where it writes against the answer, else 1."""
        return -1 if self.writes == "against" else 1

    @property
    def copy_sign(self) -> int:
        """-1 where it writes against the name it attends to, else 1."""
        return -1 if self.copies == "against" else 1

    def __str__(self) -> str:
        return self.name


class Member(NamedTuple):
    """One head of a class."""

    head: Head
    of: HeadClass

    def __str__(self) -> str:
        return f"{self.of} {self.head}"


class Edge(NamedTuple):
    """One class reading what another one writes at `sender.at`."""

    sender: HeadClass
    receiver: HeadClass
    input: str

    def __str__(self) -> str:
        return f"{self.sender} to {self.receiver} {self.input}"


class CircuitFile(NamedTuple):
    """A whole file: its classes, in its order."""

    model: str | HubModel  # in words, or where it is
    classes: tuple[HeadClass, ...]
    bos: bool | None = None  # None: what the tokenizer does by itself
    source: str = ""
    bands: Mapping[str, StatedBand] = MappingProxyType({})  # by the id of a published figure
    complete: bool = True  # whether its heads are said to do the task alone
    figures: References = References({})  # published of this model, by id

    @property
    def places(self) -> frozenset[Place]:
        """The circuit: every head with every position at which it works."""
        return frozenset().union(*(one.places for one in self.classes))

    def heads_at(self, position: str) -> frozenset[Head]:
        """The heads that work at a position, in whatever class."""
        return frozenset(head for head, at in self.places if at == position)

    @property
    def named_heads(self) -> frozenset[Head]:
        """The heads of all classes, wherever they work."""
        return frozenset(head for head, _ in self.places)

    @property
    def members(self) -> tuple[Member, ...]:
        """Every head of every class."""
        return tuple(Member(head, one) for one in self.classes for head in one.heads)

    @property
    def heads(self) -> tuple[Head, ...]:
        """Every head that a model has to have: those of its classes, and those that figures are published of."""
        return tuple(dict.fromkeys([*(member.head for member in self.members), *heads_of(self.figures)]))

    @property
    def edges(self) -> tuple[Edge, ...]:
        """Every class with each class it reads from."""
        by_name = {one.name: one for one in self.classes}
        return tuple(Edge(by_name[read.sender], one, read.input) for one in self.classes for read in one.reads)


def by_head(places: Iterable[Place]) -> dict[Head, tuple[str, ...]]:
    """Places by head, as instruments take them."""
    positions: dict[Head, tuple[str, ...]] = {}
    for head, position in sorted(places):
        positions[head] = (*positions.get(head, ()), position)
    return positions


def read_circuit(path: Path) -> CircuitFile:
    """The circuit in a TOML file. Raises OSError, or ValueError that names every fault with its place and value."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no TOML: {error}") from error
    kinds = {"source": (str, "is no text"), "published": (str, "is no text")}
    kinds |= {key: (bool, "is neither true nor false") for key in ("bos", "complete")}
    known = ("model", "classes", "bands", *kinds)
    faults = [f"{key!r} is unknown: {suggestion(key, known)}" for key in {*table} - {*known}]
    faults += [
        f"{key}: {table[key]!r} {says}"
        for key, (kind, says) in kinds.items()
        if not isinstance(table.get(key, kind()), kind)
    ]
    model = table.get("model", "")
    if not isinstance(model, str):
        model = _checked(HubModel, model, "model", faults)
    tables = table.get("classes", {} if "published" in table else None)
    if not isinstance(tables, dict) or not (tables or "published" in table):
        raise ValueError(f'{path}: it has no classes: add a table such as [classes."name mover"]\n' + "\n".join(faults))
    classes = []
    for name, content in tables.items():
        named = {**content, "name": name} if isinstance(content, dict) else content
        classes.append(_checked(HeadClass, named, f"[classes.{name!r}]", faults))
    stated = table.get("bands", {})
    if not isinstance(stated, dict):
        raise ValueError(f"{path}: bands: {stated!r} is no table of bands, each with says, accept and why")
    bands = {id: _checked(StatedBand, band, f"[bands.{id!r}]", faults) for id, band in stated.items()}
    if faults:
        raise ValueError(f"{path}: " + "\n".join(faults))
    figures = read_figures(path.parent / table["published"]) if "published" in table else References({})
    told = {key: table[key] for key in ("bos", "source", "complete") if key in table}
    circuit = CircuitFile(model, tuple(classes), bands=MappingProxyType(bands), figures=figures, **told)
    if faults := _contradictions(circuit):
        raise ValueError(f"{path}: " + "\n".join(faults))
    return circuit


def _checked(kind: type[BaseModel], content: object, where: str, faults: list[str]) -> Any:
    """What a table says; None where it is wrong, whose faults are then added to those of the file."""
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        faults += [f"{where} {_in_words(fault, kind)}" for fault in error.errors()]


def _in_words(fault: Mapping[str, Any], kind: type[BaseModel]) -> str:
    """One fault that pydantic found, with its place."""
    *place, key = fault["loc"] or ("table",)
    if fault["type"] == "extra_forbidden":
        fields = {"reads": {"from", "input"}, "accept": {*Band.model_fields}}.get(str(place[0])) if place else None
        fields = fields or {*kind.model_fields} - {"name"}
        return f"{key!r} is unknown: {suggestion(str(key), sorted(fields))}"
    where = ".".join(map(str, (*place, key)))
    return f"{where}: {fault['msg'].removeprefix('Value error, ')}"


def _contradictions(circuit: CircuitFile) -> list[str]:
    """What no single class shows: classes that are not there, heads named twice, positions in an impossible order."""
    names, faults, owner = [one.name for one in circuit.classes], [], {}
    for one in circuit.classes:
        for head in one.heads:
            if (head, one.at) in owner:
                faults.append(
                    f"head {head} at {one.at} is in {owner[head, one.at]!r} and in {one.name!r}: name it once"
                )
            owner[head, one.at] = one.name
        if one.copies and (first := min(one.heads)).layer == 0:
            faults.append(
                f"[classes.{one.name!r}] copies: head {first} comes before the first MLP, whose output the copy score "
                "starts from"
            )
        if one.attends_to and one.attends_to not in (one.at, *BEFORE[one.at]):
            faults.append(f"[classes.{one.name!r}] attends_to: {one.attends_to!r} may stand after {one.at!r}")
        for read in one.reads:
            if read.sender not in names:
                faults.append(
                    f"[classes.{one.name!r}] reads: no class {read.sender!r}: {suggestion(read.sender, names)}"
                )
    faults += [
        f"published figures are of no class {name!r}: {suggestion(name, names)}"
        for name in classes_of(circuit.figures)
        if name not in names
    ]
    return faults or [fault for edge in circuit.edges for fault in _impossible(edge)]


def _impossible(edge: Edge) -> Iterable[str]:
    sender, receiver, input = edge
    where = f"[classes.{receiver.name!r}] reads from {sender.name!r}"
    allowed = (receiver.at,) if input == "q" else (receiver.at, *BEFORE[receiver.at])
    if sender.at not in allowed:
        yield f"{where}: through {input} it reads at {' or '.join(allowed)}, but these heads work at {sender.at}"
    if min(sender.heads).layer >= max(receiver.heads).layer:
        yield f"{where}: none of {sender.name!r} is in a layer below any of {receiver.name!r}"
