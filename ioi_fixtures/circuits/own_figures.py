"""Figures that somebody published of one model: a file beside its circuit file, in the form of ioi_fixtures/published/.

The id of a figure is that of a claim about a circuit file, such as "behaviour/accuracy", in place of whose figure it
then stands; or it is of a head, or of the stream before a layer, which are asked each by itself:

    "attribution/8.10"      direct logit attribution of a head, in logits
    "leads/8.10"            the same, less that of the head that writes most for the answer besides
    "leads-against/20.1"    as "leads", of what heads write against the answer
    "attention/5.8 S2 to S1+1"      what a head attends with, from one position to another
    "others-attention/END to S2"    the same of the average head in no class of the file
    "others-attribution/head"       direct logit attribution of the strongest head in no class, or of the strongest mlp
    "logit-lens/8"          the logit difference read off the stream before a layer, or after the last
    "without-mlp/0"         the share of the logit difference that is left with an MLP at its ABC mean
    "signals/S-inhibition random inverted"  change of the logit difference by a class's output from prompts with such a
                            token signal and such a position signal: original, random (of a token), inverted

An id that ends in " @ step1000" is of the model at that step of its training, one that ends in " @ step10000-" of all
from that step on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from ioi_fixtures.circuits.positions import BEFORE
from ioi_fixtures.circuits.signals import CELL_VARIANTS
from lib.judging.references import Reference, References, read_references
from lib.models.heads import Head

OF_THE_REST = ("head", "mlp")
_OF_STEPS = re.compile(r"(?P<id>.+?) @ step(?P<first>\d+)(?P<on>-?)")


class Look(NamedTuple):
    """From where to where a head attends, or where none is named, the average other head."""

    head: Head | None
    query: str
    key: str

    def __str__(self) -> str:
        return f"{self.head or 'others'} {self.query} to {self.key}"


class Signals(NamedTuple):
    """A class of heads, and the two signals in the prompts that its output comes from."""

    of: str
    token: str
    position: str

    def __str__(self) -> str:
        return f"{self.of}, {self.token} token, {self.position} position"


class OwnFigure(NamedTuple):
    """A figure of one head, of one layer, or of something else that its kind names."""

    id: str
    address: Head | int | Look | Signals | str

    @property
    def sign(self) -> int:
        """-1 where it is about what is written against the answer, else 1."""
        return -1 if self.id.startswith("leads-against/") else 1

    def __str__(self) -> str:
        return str(self.address)


def read_figures(path: Path) -> References:
    """All figures of a file, by id. Raises OSError, or ValueError that names file and id."""
    figures = read_references(path)
    for id in figures:
        try:
            list(_addressed(id))
        except ValueError as error:
            raise ValueError(f"{path}: [{id!r}]: {error}") from error
    return figures


def at_step(figures: References, step: int | None) -> References:
    """Those that hold of a model at a step of its training, by the ids of their claims: what is published of a step
    stands before what is published of all from some step on, and that before what is published of the model."""
    chosen: dict[str, tuple[int, Reference]] = {}
    for id, figure in figures.items():
        of_steps = _OF_STEPS.fullmatch(id)
        plain, rank = (of_steps["id"], 2 - bool(of_steps["on"])) if of_steps else (id, 0)
        if of_steps and (step is None or not _holds(of_steps, step)):
            continue
        if plain not in chosen or rank > chosen[plain][0]:
            chosen[plain] = (rank, figure.model_copy(update={"id": plain}))
    return References({id: figure for id, (_, figure) in chosen.items()})


def of_kind(figures: References, *kinds: str) -> list[OwnFigure]:
    """The figures of heads or of layers of these kinds, in their order."""
    return [figure for id in figures for figure in _addressed(id) if id.partition("/")[0] in kinds]


def heads_of(figures: References) -> list[Head]:
    """The heads that figures are of; for a layer that has to be there, one of it."""
    addresses = [figure.address for id in figures for figure in _addressed(id)]
    heads = [one.head if isinstance(one, Look) else one for one in addresses if isinstance(one, Head | Look)]
    layers = [figure.address - (kind == "logit-lens") for kind in _OF_LAYERS for figure in of_kind(figures, kind)]
    return [*filter(None, heads), *(Head(layer, 0) for layer in layers if layer >= 0)]


def classes_of(figures: References) -> list[str]:
    """The classes of heads that figures are of."""
    return [figure.address.of for figure in of_kind(figures, "signals")]


def _addressed(id: str) -> Iterator[OwnFigure]:
    """The figure of a part of the model, if the id is of one. Raises ValueError where what it is of cannot be."""
    kind, _, address = id.partition(" @ ")[0].partition("/")
    if kind in PARTS:
        yield OwnFigure(f"{kind}/{address}", PARTS[kind](address))


def _layer(text: str) -> int:
    if not text.isdigit():
        raise ValueError(f"{text!r} is no layer")
    return int(text)


def _look(text: str) -> Look:
    named, _, looks = text.partition(" ")
    head = Head.parse(named)
    return _look_of_others(looks)._replace(head=head)


def _look_of_others(text: str) -> Look:
    query, _, key = text.partition(" to ")
    if query not in BEFORE or key not in (query, *BEFORE[query]):
        raise ValueError(f'{text!r} names no two positions, the second no later one: write them as "END to S2"')
    return Look(None, query, key)


def _rest(text: str) -> str:
    if text not in OF_THE_REST:
        raise ValueError(f"{text!r} is none of {' and '.join(OF_THE_REST)}")
    return text


def _signals(text: str) -> Signals:
    of, *cell = text.rsplit(" ", 2)
    if tuple(cell) not in CELL_VARIANTS:
        raise ValueError(f'{text!r} names no class and two signals: write them as "S-inhibition random inverted"')
    return Signals(of, *cell)


_OF_LAYERS = ("logit-lens", "without-mlp")
# What an id begins with that is of a part of the model, and how the part is read.
PARTS: Mapping[str, Callable[[str], Head | int | Look | Signals | str]] = MappingProxyType(
    {
        "attribution": Head.parse,
        "leads": Head.parse,
        "leads-against": Head.parse,
        "attention": _look,
        "others-attention": _look_of_others,
        "others-attribution": _rest,
        "signals": _signals,
        **dict.fromkeys(_OF_LAYERS, _layer),
    }
)


def _holds(of_steps: re.Match[str], step: int) -> bool:
    first = int(of_steps["first"])
    return step >= first if of_steps["on"] else step == first
