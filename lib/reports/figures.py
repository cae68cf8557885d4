"""Drawings as plotly figures: plain dictionaries of the traces and layout that plotly.js draws in the page.

Colours are names of CSS variables, which the page's script looks up, so a figure follows the page into dark mode and
onto paper. Values of either sign share one scale that is centred on zero, blue above and red below, which most
colour-blind readers can tell apart; the largest are printed too, and every value is told on hovering. plotly reads its
labels as markup, so all text is escaped here. Out of scope: tables, which need no script.
"""

from __future__ import annotations

import math
from html import escape

from lib.judging.drawings import Bars, Drawing, Edge, Graph, HeadMap, Lines, Pattern, Scatter, Series, Table
from lib.one_line import counted

PRINTED_SHARE = 0.05  # of the largest value: smaller cells are pale, and their numbers would bury the others
NAMED = 12  # values told in a text alternative, at most: what one sentence can carry
LABELLED_POINTS = 8  # a series of more points tells their names on hovering alone
COLOURS = 8  # --c0 to --c7 in the style sheet
SYMBOLS = ("circle", "diamond", "square", "triangle-up", "x", "cross", "star", "pentagon")
WIDEST_EDGE = 10  # pixels
DIVERGING = [(i / 4, f"var(--{name})") for i, name in enumerate(("low", "lower", "zero", "higher", "high"))]
RISING = [(i / 2, f"var(--{name})") for i, name in enumerate(("zero", "higher", "high"))]
AXIS = {"gridcolor": "var(--line)", "linecolor": "var(--line)", "zerolinecolor": "var(--quiet)", "automargin": True}
BARE = {"showgrid": False, "zeroline": False, "showticklabels": False, "showline": False}


def figure(drawing: Drawing) -> dict | None:
    """The drawing as {"data": traces, "layout": layout}; None for a table."""
    if isinstance(drawing, Table):
        return None
    data, layout = _DRAW[type(drawing)](drawing)
    shared = {
        "font": {"color": "var(--ink)", "family": "inherit", "size": 12},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "hoverlabel": {"bgcolor": "var(--page)", "font": {"color": "var(--ink)"}},
        "margin": {"l": 56, "r": 16, "t": 16, "b": 48},
        "legend": {"orientation": "h", "y": 1, "yanchor": "bottom"},
        "height": 420,
    }
    return {"data": data, "layout": shared | layout}


def describe(drawing: Drawing) -> str:
    """The drawing in words, for those who cannot see it: what it shows and its largest values."""
    match drawing:
        case HeadMap(values=values, unit=unit, first_layer=first):
            pairs = [(f"{i}.{j}", value) for i, row in enumerate(values, first) for j, value in enumerate(row)]
            what = f"{counted(len(values), 'layer')} by {counted(len(values[0]), 'head')}, in {unit}"
        case Pattern(words=words, weights=weights):
            pairs = [(f"{words[i]} to {words[j]}", w) for i, row in enumerate(weights) for j, w in enumerate(row)]
            what = f"attention over {len(words)} words"
        case Bars(bars=bars, unit=unit):
            pairs, what = [(bar.label, bar.value) for bar in bars], f"{len(bars)} values in {unit}"
        case Graph(edges=edges, unit=unit):
            pairs = [(_path(edge), edge.value) for edge in edges if edge.value is not None]
            what = f"{len(drawing.nodes)} nodes and {len(edges)} edges, in {unit}"
        case Scatter() | Lines():
            pairs = []
            what = f"{drawing.y} against {drawing.x}, for {', '.join(one.name for one in drawing.series)}"
        case Table(rows=rows):
            pairs, what = [], f"a table of {len(rows)} rows"
    largest = max((abs(value) for _, value in pairs), default=0)
    named = sorted((pair for pair in pairs if largest and abs(pair[1]) >= PRINTED_SHARE * largest), key=_size)[:NAMED]
    told = f" Largest: {', '.join(f'{name} {value:+.3g}' for name, value in named)}." if named else ""
    return f"{drawing.title}: {what}.{told}"


def _size(pair: tuple[str, float]) -> float:
    return -abs(pair[1])


def _head_map(drawing: HeadMap) -> tuple[list[dict], dict]:
    largest = max(abs(value) for row in drawing.values for value in row) or 1.0
    form = f"+.{max(0, 2 - math.floor(math.log10(largest)))}f"  # three digits of the largest
    printed = [[f"{v:{form}}" if abs(v) >= PRINTED_SHARE * largest else "" for v in row] for row in drawing.values]
    trace = {
        "type": "heatmap",
        "y": [drawing.first_layer + i for i in range(len(drawing.values))],
        "z": drawing.values,
        "text": printed,
        "texttemplate": "%{text}",
        "textfont": {"size": 10},
        "colorscale": DIVERGING,
        "zmin": -largest,
        "zmax": largest,
        "xgap": 1,
        "ygap": 1,
        "hovertemplate": "head %{y}.%{x}: %{z:+.4g}<extra></extra>",
        "colorbar": _colour_bar(drawing.unit),
    }
    # Every layer and head is named: 12 fit, and of more plotly leaves some out.
    ticks = AXIS | {"dtick": 1 if len(drawing.values) <= 16 else 4, "showgrid": False, "zeroline": False}
    layers = {"title": {"text": "layer"}, "autorange": "reversed"}
    return [trace], {"xaxis": ticks | {"title": {"text": "head"}}, "yaxis": ticks | layers, "height": 480}


def _pattern(drawing: Pattern) -> tuple[list[dict], dict]:
    # Numbered, so that a word that comes twice is two places.
    words = [f"{i} {_text(word)}" for i, word in enumerate(drawing.words)]
    trace = {
        "type": "heatmap",
        "x": words,
        "y": words,
        "z": [row + [None] * (len(words) - len(row)) for row in drawing.weights],
        "colorscale": RISING,
        "zmin": 0,
        "zmax": 1,
        "xgap": 1,
        "ygap": 1,
        "hoverongaps": False,
        "hovertemplate": "from %{y}<br>to %{x}: %{z:.3f}<extra></extra>",
        "colorbar": _colour_bar("attention"),
    }
    ticks = AXIS | {"type": "category", "showgrid": False, "dtick": 1}
    columns = {"title": {"text": "attended to"}, "tickangle": -60}
    rows = {"title": {"text": "from"}, "autorange": "reversed"}
    return [trace], {"xaxis": ticks | columns, "yaxis": ticks | rows, "height": 520}


def _scatter(drawing: Scatter) -> tuple[list[dict], dict]:
    data = [_points(one, i) for i, one in enumerate(drawing.series)]
    numbers = [number for one in drawing.series for number in (*one.x, *one.y)]
    if drawing.diagonal and numbers:
        ends = [min(numbers), max(numbers)]
        line = {"color": "var(--quiet)", "dash": "dot", "width": 1}
        data.append({"type": "scatter", "x": ends, "y": ends, "mode": "lines", "line": line, "hoverinfo": "skip"})
        data[-1]["name"] = "equal"
    return data, {"xaxis": _axis(drawing.x), "yaxis": _axis(drawing.y)}


def _points(series: Series, i: int) -> dict:
    told = bool(series.names) and len(series.names) <= LABELLED_POINTS
    return {
        "type": "scatter",
        "x": series.x,
        "y": series.y,
        "name": _text(series.name),
        "text": [_text(name) for name in series.names],
        "mode": "markers+text" if told else "markers",
        "textposition": "top center",
        "cliponaxis": False,
        "marker": {"color": _colour(i), "symbol": SYMBOLS[i % len(SYMBOLS)], "size": 8, "opacity": 0.8},
        "hovertemplate": "%{text}<br>%{x:.3g}, %{y:.3g}" if series.names else "%{x:.3g}, %{y:.3g}",
    }


def _lines(drawing: Lines) -> tuple[list[dict], dict]:
    data = [
        {
            "type": "scatter",
            "x": one.x,
            "y": one.y,
            "name": _text(one.name),
            "mode": "lines+markers",
            "line": {"color": _colour(i)},
            "marker": {"symbol": SYMBOLS[i % len(SYMBOLS)], "size": 7},
            "hovertemplate": "%{x}: %{y:.4g}",
        }
        for i, one in enumerate(drawing.series)
    ]
    ticks = {"tickvals": list(range(len(drawing.ticks))), "ticktext": [_text(tick) for tick in drawing.ticks]}
    return data, {
        "xaxis": _axis(drawing.x) | ticks | {"zeroline": False},
        "yaxis": _axis(drawing.y),
        "showlegend": len(data) > 1,
    }


def _bars(drawing: Bars) -> tuple[list[dict], dict]:
    groups: dict[str, list] = {}
    for bar in drawing.bars:
        groups.setdefault(bar.group, []).append(bar)
    data = [
        {
            "type": "bar",
            "name": _text(group),
            "x": [_text(bar.label) for bar in members],
            "y": [bar.value for bar in members],
            "error_y": {
                "type": "data",
                "symmetric": False,
                "array": [bar.high - bar.value for bar in members],
                "arrayminus": [bar.value - bar.low for bar in members],
                "color": "var(--ink)",
                "thickness": 1.2,
                "width": 3,
            },
            "marker": {"color": _colour(i)},
            "customdata": [[bar.low, bar.high] for bar in members],
            "hovertemplate": "%{x}: %{y:.4g} [%{customdata[0]:.4g}, %{customdata[1]:.4g}]",
        }
        for i, (group, members) in enumerate(groups.items())
    ]
    order = {"type": "category", "categoryorder": "array", "categoryarray": [_text(bar.label) for bar in drawing.bars]}
    order["showgrid"] = False
    layout = {"xaxis": AXIS | order, "yaxis": _axis(drawing.unit), "showlegend": len(groups) > 1, "barmode": "overlay"}
    return data, layout


def _graph(drawing: Graph) -> tuple[list[dict], dict]:
    place = {node.name: (node.column, node.row) for node in drawing.nodes}
    largest = max((abs(edge.value) for edge in drawing.edges if edge.value is not None), default=0) or 1.0
    data = []
    for edge in drawing.edges:
        (x0, y0), (x1, y1) = place[edge.source], place[edge.target]
        line = {"color": "var(--line)", "width": 1}
        if edge.value is not None:
            colour = "var(--high)" if edge.value > 0 else "var(--low)"
            line = {"color": colour, "width": max(1.0, round(WIDEST_EDGE * abs(edge.value) / largest, 1))}
        data.append({"type": "scatter", "x": [x0, x1], "y": [y0, y1], "mode": "lines", "line": line})
        data[-1] |= {"hoverinfo": "skip", "showlegend": False, "opacity": 0.7}
    told = [edge for edge in drawing.edges if edge.value is not None]
    middles = [[(place[edge.source][i] + place[edge.target][i]) / 2 for edge in told] for i in (0, 1)]
    words = [f"{_text(_path(edge))}: {edge.value:+.3g}" for edge in told]
    data.append({"type": "scatter", "x": middles[0], "y": middles[1], "text": words, "mode": "markers"})
    data[-1] |= {"marker": {"size": 9, "opacity": 0}, "hovertemplate": "%{text}<extra></extra>", "showlegend": False}
    beside = {edge.source for edge in told} - {edge.target for edge in told}
    for i, group in enumerate(dict.fromkeys(node.group for node in drawing.nodes)):
        members = [node for node in drawing.nodes if node.group == group]
        data.append(
            {
                "type": "scatter",
                "x": [node.column for node in members],
                "y": [node.row for node in members],
                "text": [_text(node.name) for node in members],
                "name": _text(group),
                "mode": "markers+text",
                # Beside a node that only sends, whose edges leave to the right; above one that is reached.
                "textposition": ["middle left" if node.name in beside else "top center" for node in members],
                "cliponaxis": False,
                "marker": {"color": _colour(i), "symbol": SYMBOLS[i % len(SYMBOLS)], "size": 12},
                "hovertemplate": "%{text}",
            }
        )
    rows = [node.row for node in drawing.nodes]
    span = (max(rows, default=0) - min(rows, default=0)) or 1.0
    heights = {"range": [min(rows, default=0) - 0.06 * span, max(rows, default=0) + 0.14 * span]}  # room for a label
    return data, {"xaxis": BARE | {"automargin": True}, "yaxis": BARE | heights, "height": 640, "hovermode": "closest"}


def _path(edge: Edge) -> str:
    return f"{edge.source} to {edge.target}{edge.says and f' ({edge.says})'}"


def _axis(title: str) -> dict:
    return AXIS | {"title": {"text": _text(title)}}


def _colour_bar(unit: str) -> dict:
    return {"title": {"text": _text(unit), "side": "right"}, "thickness": 12, "outlinewidth": 0}


def _colour(i: int) -> str:
    return f"var(--c{i % COLOURS})"


def _text(text: str) -> str:
    return escape(text, quote=False).replace("\n", "<br>")


_DRAW = {HeadMap: _head_map, Pattern: _pattern, Scatter: _scatter, Lines: _lines, Bars: _bars, Graph: _graph}
