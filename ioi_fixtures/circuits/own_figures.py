"""Figures that somebody published of one model: a file beside its circuit file, in the form of ioi_fixtures/published/.

The id of a figure is that of a claim about a circuit file, such as "behaviour/accuracy", in place of whose figure it
then stands; or it is of a head, or of the stream before a layer, which are asked each by itself:

    "attribution/8.10"      direct logit attribution of a head, in logits
    "leads/8.10"            the same, less that of the head that writes most for the answer besides
    "leads-against/20.1"    as "leads", of what heads write against the answer
    "logit-lens/8"          the logit difference read off the stream before a layer, or after the last

An id that ends in " @ step1000" is of the model at that step of its training, one that ends in " @ step10000-" of all
from that step on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from lib.judging.references import Reference, References, read_references
from lib.models.heads import Head

OF_HEADS, OF_LAYERS = ("attribution", "leads", "leads-against"), ("logit-lens",)
_OF_STEPS = re.compile(r"(?P<id>.+?) @ step(?P<first>\d+)(?P<on>-?)")


class OwnFigure(NamedTuple):
    """A figure of one head, or of the stream before one layer."""

    id: str
    address: Head | int

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
    """The heads that figures are of; for a layer, one of the layer below it, which has to be there."""
    addresses = [figure.address for id in figures for figure in _addressed(id)]
    return [one if isinstance(one, Head) else Head(one - 1, 0) for one in addresses if one]


def _addressed(id: str) -> Iterator[OwnFigure]:
    """The figure of a head or a layer, if the id is of one. Raises ValueError where it names neither."""
    kind, _, address = id.partition(" @ ")[0].partition("/")
    if kind in OF_HEADS:
        yield OwnFigure(f"{kind}/{address}", Head.parse(address))
    if kind in OF_LAYERS:
        if not address.isdigit():
            raise ValueError(f"{address!r} is no layer")
        yield OwnFigure(f"{kind}/{address}", int(address))


def _holds(of_steps: re.Match[str], step: int) -> bool:
    first = int(of_steps["first"])
    return step >= first if of_steps["on"] else step == first
