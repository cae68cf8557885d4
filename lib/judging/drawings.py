"""What a claim shows beside its figures, as plain records: a drawing is data with labels; renderers draw it.

Numbers are finite and kept to four digits: a drawing is for the eye, and its values travel in the report. Text may come
from anywhere (prompts, tokens, a model's name); whoever draws it escapes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, FiniteFloat, model_validator
from torch import Tensor

from lib.judging.statistics import Estimate

DIGITS = 4

Number = Annotated[FiniteFloat, AfterValidator(lambda number: float(f"{number:.{DIGITS}g}"))]


class _Part(BaseModel):
    """Immutable, and strict about unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class HeadMap(_Part):
    """One value a head."""

    kind: Literal["head map"] = "head map"
    title: str
    unit: str
    values: list[list[Number]]  # layer, head
    first_layer: int = 0  # the layer of the first row

    @model_validator(mode="after")
    def _is_a_map(self) -> HeadMap:
        widths = {len(row) for row in self.values}
        if len(widths) != 1 or 0 in widths:
            raise ValueError(f"rows of {sorted(widths)} heads: give one value a head, a row a layer")
        return self


class Pattern(_Part):
    """What one head attends to on one prompt."""

    kind: Literal["pattern"] = "pattern"
    title: str
    words: list[str]
    weights: list[list[Number]]  # query, key; each row is of the words up to its own

    @model_validator(mode="after")
    def _is_causal(self) -> Pattern:
        if [len(row) for row in self.weights] != list(range(1, len(self.words) + 1)):
            raise ValueError(f"a pattern over {len(self.words)} words has rows of 1 to {len(self.words)} weights")
        return self


class Series(_Part):
    """Points that belong together; `names` says what each is."""

    name: str
    x: list[Number]
    y: list[Number]
    names: list[str] = []

    @model_validator(mode="after")
    def _is_paired(self) -> Series:
        if len(self.x) != len(self.y) or (self.names and len(self.names) != len(self.x)):
            raise ValueError(f"{len(self.x)} x, {len(self.y)} y and {len(self.names)} names: give one of each a point")
        return self


class Scatter(_Part):
    """Points in a plane; `diagonal` adds the line of equal coordinates."""

    kind: Literal["scatter"] = "scatter"
    title: str
    x: str
    y: str
    series: list[Series]
    diagonal: bool = False


class Lines(_Part):
    """One value a step, for each of several things; `ticks` names the steps 0, 1, 2, ..."""

    kind: Literal["lines"] = "lines"
    title: str
    x: str
    y: str
    ticks: list[str]
    series: list[Series]


class Bar(_Part):
    """A value with its interval; bars of one group have one colour."""

    label: str
    value: Number
    low: Number
    high: Number
    group: str = ""


class Bars(_Part):
    """Values side by side with their intervals."""

    kind: Literal["bars"] = "bars"
    title: str
    unit: str
    bars: list[Bar]


class Table(_Part):
    """Words in rows and columns; the first column names the row."""

    kind: Literal["table"] = "table"
    title: str
    columns: list[str]
    rows: list[list[str]]

    @model_validator(mode="after")
    def _is_rectangular(self) -> Table:
        if {len(row) for row in self.rows} - {len(self.columns)}:
            raise ValueError(f"every row needs one cell for each of the {len(self.columns)} columns")
        return self


class Node(_Part):
    """A named place in a graph; nodes of one group have one colour."""

    name: str
    group: str
    column: float
    row: float


class Edge(_Part):
    """From one named node to another. Without a value it only says that the two belong together."""

    source: str
    target: str
    value: Number | None = None
    says: str = ""  # what goes along it


class Graph(_Part):
    """Nodes joined by edges whose widths are their values."""

    kind: Literal["graph"] = "graph"
    title: str
    unit: str
    nodes: list[Node]
    edges: list[Edge]

    @model_validator(mode="after")
    def _joins_known_nodes(self) -> Graph:
        unknown = {end for edge in self.edges for end in (edge.source, edge.target)} - {n.name for n in self.nodes}
        if unknown:
            raise ValueError(f"edges name nodes that do not exist: {', '.join(sorted(unknown))}")
        return self


Drawing = Annotated[HeadMap | Pattern | Scatter | Lines | Bars | Table | Graph, Field(discriminator="kind")]


def head_map(title: str, unit: str, values: Tensor, *, first_layer: int = 0) -> HeadMap:
    """A map of `values` [layer head], from `first_layer` on. Raises ValueError where it has another shape, or where a
    value is no finite number."""
    if values.ndim != 2:
        raise ValueError(f"a head map is [layer head], not {tuple(values.shape)}")
    if not bool(values.isfinite().all()):
        raise ValueError(f"{title}: {int((~values.isfinite()).sum())} values are not finite numbers")
    return HeadMap(title=title, unit=unit, values=values.tolist(), first_layer=first_layer)


def bars(title: str, unit: str, estimates: Mapping[str, Estimate], groups: Mapping[str, str] | None = None) -> Bars:
    """Estimates with their intervals, by label; `groups` says which belong together."""
    found = [
        Bar(label=label, value=one.value, low=one.low, high=one.high, group=(groups or {}).get(label, ""))
        for label, one in estimates.items()
    ]
    return Bars(title=title, unit=unit, bars=found)
