"""The page of a sweep: one HTML file without script, that loads nothing. jinja2 escapes whatever the records hold.

A column is a model and a row a claim; a cell links to that claim on that model's own page, which lies beside.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from markupsafe import Markup

from lib.judging import verdicts
from lib.judging.verdicts import NOT_HOLDING
from lib.reports.drift_words import moved
from lib.reports.html_report import style, templates
from lib.sweep import drawn
from lib.sweep.records import Cell, Column, Row, Sweep
from lib.sweep.table import part_of

LISTED = 4  # figures that changed between two neighbours and are told; all are in the JSON
TEMPLATES = templates(Path(__file__).parent)


class Part(NamedTuple):
    """Models that were asked the same circuit, and the claims that they were asked, family by family."""

    columns: list[Column]
    families: list[tuple[str, list[Row]]]

    @property
    def lines(self) -> dict[str, int]:
        """Each line, with how many columns are its."""
        return Counter(one.line for one in self.columns)


def page(sweep: Sweep, *, title: str, written: str) -> str:
    """The whole page. written: when."""
    ran = [one for one in sweep.columns if one.report]
    lines = _lines(sweep)
    colours = {name: i for i, name in enumerate(lines)}
    x, ticks = drawn.places(ran) if ran else ({}, [])
    return TEMPLATES.get_template("page.html.jinja").render(
        sweep=sweep,
        title=title,
        written=written,
        lines=lines,
        colours=colours,
        kinds=Counter(one.kind for one in sweep.columns),
        parts=list(_parts(sweep)),
        curves=[drawn.draw(curve, x, ticks, colours) for curve in sweep.curves],
        since=since(sweep),
        style=style() + Markup(Path(__file__).with_name("page.css").read_text(encoding="utf-8")),
    )


def since(sweep: Sweep) -> dict[str, dict[str, str]]:
    """From which model of each line on every later one holds a claim, by claim, those of a class of heads together: its
    step, or its name. Controls are left out, as are claims that hold at no line's end."""
    columns = {line: [one for one in sweep.columns if one.line == line and one.report] for line in _lines(sweep)}
    parts: dict[str, list[Row]] = {}
    for row in sweep.rows:
        if not row.is_control:
            parts.setdefault(part_of(row.claim), []).append(row)
    found = {}
    for part, rows in parts.items():
        by_line = {line: first for line, ones in columns.items() if (first := _first_to_hold(rows, ones))}
        if by_line:
            found[part] = by_line
    return found


def _first_to_hold(rows: list[Row], columns: list[Column]) -> str:
    first = ""
    for column in columns:
        cells = [row.cells[column.name] for row in rows if column.name in row.cells]
        holds = cells and all(cell.standing == "holds" for cell in cells)
        first = (first or (column.name if column.step is None else f"{column.step:,}")) if holds else ""
    return first


def _lines(sweep: Sweep) -> list[str]:
    return list(dict.fromkeys(one.line for one in sweep.columns))


def _parts(sweep: Sweep) -> Iterator[Part]:
    """Models that were asked other circuits have other claims, and a table of their own."""
    circuits: dict[str, list[Column]] = {}
    for one in sweep.columns:
        if one.report:
            circuits.setdefault(one.circuit, []).append(one)
    for columns in circuits.values():
        names = {one.name for one in columns}
        rows = [row for row in sweep.rows if names & {*row.cells}]
        yield Part(columns, [(heading, list(found)) for heading, found in groupby(rows, key=lambda row: row.heading)])


def shown(cell: Cell) -> str:
    """The value of a cell: of its worst figure, as far as fits."""
    return f"{round(cell.figures[0].value, 2) + 0:.2f}" if cell.figures else "–"  # + 0: no minus before a zero


def told(cell: Cell) -> str:
    """The same with its interval, in words."""
    if not cell.figures:
        return "no figure was measured"
    one = cell.figures[0]
    return f"{one.value:.3g} [{one.low:.3g}, {one.high:.3g}]"


def readable(part: str) -> str:
    """A claim's name as words."""
    name, bracket, of = part.partition("::")[2].removeprefix("test_").partition("[")
    return name.replace("_", " ") + (f": {of.removesuffix(']')}" if bracket else "")


def holding(sweep: Sweep, column: Column) -> str:
    """How many of the claims on a model hold."""
    cells = [row.cells[column.name] for row in sweep.rows if column.name in row.cells]
    return f"{sum(cell.standing not in NOT_HOLDING for cell in cells)}/{len(cells)}"


TEMPLATES.globals.update(
    {f.__name__: f for f in (shown, told, readable, holding, moved)},
    marks=verdicts.MARKS,
    words=verdicts.WORDS,
    listed=LISTED,
    **{name.lower(): getattr(drawn, name) for name in ("WIDTH", "HEIGHT", "LEFT", "RIGHT", "TOP", "BOTTOM")},
)
