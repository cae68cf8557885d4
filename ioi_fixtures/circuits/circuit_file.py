"""A circuit as a file: classes of heads, where they work, and what is claimed of them. Read from TOML, strictly.

    model = "which model this is, in words"           # optional
    bos = true                                        # optional: prompts begin with the start token, or do not
    [classes."name mover"]
    heads = "3.0 3.2"
    at = "END"                                        # where they work: IO, S1, S1+1, S2 or END
    attends_to = "IO"                                 # optional: they attend there more than other heads
    writes = "answer"                                 # optional: for the "answer", or "against" it
    reads = [{ from = "S-inhibition", input = "q" }]  # optional: whose output reaches their q, k or v

A path stays at one position, so a class reads queries from heads at its own position, and keys or values from heads at
that position or an earlier one. Everything a class does not say is not claimed. What is wrong is refused by name.
Out of scope: whether a model has the heads (`subjects`), and whether the claims hold (claims/test_circuit_file.py).
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from ioi_fixtures.sentences.prompts import stream
from lib.instruments.addresses import Place
from lib.models.heads import Head, heads
from lib.suggestions import suggestion

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DRAWS = 10  # sets of other heads that a path is compared with
# Each position with those that stand before it in every prompt, whichever order the names come in.
BEFORE: Mapping[str, tuple[str, ...]] = {
    "IO": (),
    "S1": (),
    "S1+1": ("S1",),
    "S2": ("IO", "S1", "S1+1"),
    "END": ("IO", "S1", "S1+1", "S2"),
}


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


Position = Annotated[str, _one_of(*BEFORE)]


class Read(BaseModel):
    """Whose output a class reads, and into which of its inputs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sender: str = Field(alias="from")
    input: Annotated[str, _one_of("q", "k", "v")]


class HeadClass(BaseModel):
    """Heads that do the same thing at the same position."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    heads: Annotated[tuple[Head, ...], BeforeValidator(_read_heads)]
    at: Position
    attends_to: Position | None = None
    writes: Annotated[Literal["answer", "against"], _one_of("answer", "against")] | None = None
    reads: tuple[Read, ...] = ()

    @property
    def places(self) -> frozenset[Place]:
        """Its heads, each with the position."""
        return frozenset((head, self.at) for head in self.heads)

    @property
    def sign(self) -> int:
        """-1 where it writes against the answer, else 1."""
        return -1 if self.writes == "against" else 1

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

    model: str
    classes: tuple[HeadClass, ...]
    bos: bool | None = None  # None: what the tokenizer does by itself

    @property
    def places(self) -> frozenset[Place]:
        """The circuit: every head with every position at which it works."""
        return frozenset().union(*(one.places for one in self.classes))

    def heads_at(self, position: str) -> frozenset[Head]:
        """The heads that work at a position, in whatever class."""
        return frozenset(head for head, at in self.places if at == position)

    @property
    def members(self) -> tuple[Member, ...]:
        """Every head of every class."""
        return tuple(Member(head, one) for one in self.classes for head in one.heads)

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


def random_places(places: frozenset[Place], seed: int, *, n_layers: int, n_heads: int) -> frozenset[Place]:
    """As many heads at the same positions, none of them of the circuit there: a control.

    Where a position has fewer other heads than the circuit has heads, all of them.
    """
    uniform = stream("random places", seed)
    drawn: set[Place] = set()
    for position in sorted({position for _, position in places}):
        everyone = [(Head(layer, index), position) for layer in range(n_layers) for index in range(n_heads)]
        others = [place for place in everyone if place not in places]
        wanted = len(everyone) - len(others)
        drawn |= {others.pop(int(uniform() * len(others))) for _ in range(min(wanted, len(others)))}
    return frozenset(drawn)


def other_senders(
    senders: Collection[Head], receivers: Collection[Head], at: str, places: Collection[Place], *, n_heads: int
) -> list[tuple[Head, ...]]:
    """Sets of as many heads as send, below the receivers and with no place in the circuit at that position: a control.

    Where there are fewer of those than it takes, of all heads below the receivers that do not send.
    """
    uniform = stream("other senders", 0)
    below = [Head(layer, i) for layer in range(max(receivers).layer) for i in range(n_heads)]
    outside = [head for head in below if (head, at) not in places]
    if len(outside) < len(senders):
        outside = [head for head in below if head not in senders]
    sets = []
    for _ in range(DRAWS):
        left = list(outside)
        size = min(len(senders), len(left))
        sets.append(tuple(left.pop(int(uniform() * len(left))) for _ in range(size)))
    return sets


def read_circuit(path: Path) -> CircuitFile:
    """The circuit in a TOML file. Raises OSError, or ValueError that names every fault with its place and value."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no TOML: {error}") from error
    known = ("model", "bos", "classes")
    faults = [f"{key!r} is unknown: {suggestion(key, known)}" for key in {*table} - {*known}]
    if not isinstance(table.get("bos", False), bool):
        faults.append(f"bos: {table['bos']!r} is neither true nor false")
    tables = table.get("classes")
    if not isinstance(tables, dict) or not tables:
        raise ValueError(f'{path}: it has no classes: add a table such as [classes."name mover"]\n' + "\n".join(faults))
    classes = []
    for name, content in tables.items():
        try:
            classes.append(
                HeadClass.model_validate({**content, "name": name} if isinstance(content, dict) else content)
            )
        except ValidationError as error:
            faults += [f"[classes.{name!r}] {_in_words(fault)}" for fault in error.errors()]
    circuit = CircuitFile(str(table.get("model", "")), tuple(classes), table.get("bos"))
    faults += [] if faults else _contradictions(circuit)
    if faults:
        raise ValueError(f"{path}: " + "\n".join(faults))
    return circuit


def _in_words(fault: Mapping[str, Any]) -> str:
    """One fault that pydantic found, with its place."""
    *place, key = fault["loc"] or ("table",)
    if fault["type"] == "extra_forbidden":
        fields = {"from", "input"} if place else {*HeadClass.model_fields} - {"name"}
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
        if one.attends_to and one.attends_to not in (one.at, *BEFORE[one.at]):
            faults.append(f"[classes.{one.name!r}] attends_to: {one.attends_to!r} may stand after {one.at!r}")
        for read in one.reads:
            if read.sender not in names:
                faults.append(
                    f"[classes.{one.name!r}] reads: no class {read.sender!r}: {suggestion(read.sender, names)}"
                )
    return faults or [fault for edge in circuit.edges for fault in _impossible(edge)]


def _impossible(edge: Edge) -> Iterable[str]:
    sender, receiver, input = edge
    where = f"[classes.{receiver.name!r}] reads from {sender.name!r}"
    allowed = (receiver.at,) if input == "q" else (receiver.at, *BEFORE[receiver.at])
    if sender.at not in allowed:
        yield f"{where}: through {input} it reads at {' or '.join(allowed)}, but these heads work at {sender.at}"
    if min(sender.heads).layer >= max(receiver.heads).layer:
        yield f"{where}: none of {sender.name!r} is in a layer below any of {receiver.name!r}"
