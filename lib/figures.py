"""Figures of the report as SVG text: one value a head as a map of layers by heads.

Drawn with matplotlib's Figure, without pyplot: no window, no global state. Colours follow the field's habit
(diverging, centred on zero, blue positive, red negative) and every value that matters is also printed.
Out of scope: figures that need a script.
"""

from __future__ import annotations

import io
import math

from lib.heads import Head
from lib.measurements import HeadMap

PRINTED_SHARE = 0.05  # of the largest value: smaller cells are pale, and their numbers would bury the others
NAMED_HEADS = 12  # at most, in the text alternative: what one sentence can carry
CELL_INCHES = 0.38  # leaves room for "+0.00" in 8 points


def head_map_svg(head_map: HeadMap) -> str:
    """One `<svg>` element with title, axes and colour bar. Raises ValueError on a ragged, empty or non-finite map."""
    # Importing matplotlib takes 0.8 s: only a run that draws should pay it.
    import matplotlib
    from matplotlib.colors import CenteredNorm
    from matplotlib.figure import Figure

    layers, heads = _shape(head_map)
    largest = _largest(head_map)
    decimals = _decimals(largest)
    number = f"{{:+.{decimals}f}}"
    # Text as outlines looks the same on every machine; the fixed salt makes equal maps equal files.
    style = {"svg.fonttype": "path", "svg.hashsalt": "head map", "text.parse_math": False}
    style |= {"font.size": 9, "axes.titlesize": 11}
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(CELL_INCHES * heads + 1.6, CELL_INCHES * layers + 1.0), layout="constrained")
        axes = figure.add_subplot()
        cells = axes.pcolormesh(
            head_map.values,
            cmap=matplotlib.colormaps["RdBu"].resampled(41),  # 41 steps keep the colour bar, and the file, small
            norm=CenteredNorm(halfrange=largest or 1.0),
            edgecolors="white",
            linewidth=1.2,
        )
        axes.set(
            title=f"{head_map.title} ({head_map.subject})",
            xlabel="head",
            ylabel="layer",
            xticks=[head + 0.5 for head in range(heads)],
            xticklabels=[str(head) for head in range(heads)],
            yticks=[layer + 0.5 for layer in range(layers)],
            yticklabels=[str(layer) for layer in range(layers)],
            aspect="equal",
        )
        axes.invert_yaxis()  # layer 0 on top, as the field draws it
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        for layer, row in enumerate(head_map.values):
            for head, value in enumerate(row):
                if largest and abs(value) >= PRINTED_SHARE * largest:
                    ink = "white" if abs(value) > 0.6 * largest else "black"
                    place = {"ha": "center", "va": "center", "fontsize": 8 if decimals < 3 else 6, "color": ink}
                    axes.text(head + 0.5, layer + 0.5, number.format(value), **place)
        ticks = [share * (largest or 1.0) for share in (-1, -0.5, 0, 0.5, 1)]
        bar = figure.colorbar(cells, ax=axes, label=head_map.unit, ticks=ticks, shrink=0.8, aspect=30, pad=0.02)
        bar.ax.set_yticklabels([number.format(tick) for tick in ticks])
        bar.outline.set_visible(False)
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None}, transparent=True)
    drawing = file.getvalue()
    return drawing[drawing.index("<svg") :].strip()


def describe(head_map: HeadMap) -> str:
    """The map in words, for those who cannot see it: its size, unit and largest heads."""
    layers, heads = _shape(head_map)
    values = [(Head(layer, head), head_map.values[layer][head]) for layer in range(layers) for head in range(heads)]
    printed = [pair for pair in values if abs(pair[1]) >= PRINTED_SHARE * _largest(head_map)]
    printed.sort(key=lambda pair: -abs(pair[1]))
    named = ", ".join(f"{head} {value:+.3g}" for head, value in printed[:NAMED_HEADS])
    size = f"{layers} layers by {heads} heads"
    return f"{head_map.title}, {head_map.subject}: {size}, in {head_map.unit}. Largest: {named}."


def _shape(head_map: HeadMap) -> tuple[int, int]:
    widths = {len(row) for row in head_map.values}
    if len(widths) != 1 or 0 in widths:
        raise ValueError(
            f"head map {head_map.title!r} has rows of {sorted(widths)} heads: give one value a head, a row a layer"
        )
    if not all(math.isfinite(value) for row in head_map.values for value in row):
        raise ValueError(f"head map {head_map.title!r} holds values that are not finite numbers: nothing can be drawn")
    return len(head_map.values), widths.pop()


def _decimals(largest: float) -> int:
    """Enough that the smallest printed value is not printed as zero."""
    usual = 2 if largest < 10 else 1 if largest < 100 else 0
    return max(usual, math.ceil(-math.log10(PRINTED_SHARE * largest))) if largest else usual


def _largest(head_map: HeadMap) -> float:
    return max(abs(value) for row in head_map.values for value in row)
