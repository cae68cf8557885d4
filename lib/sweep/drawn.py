"""Curves as SVG, drawn here so that the page needs neither script nor network: training steps on a log axis, values
with their intervals, one colour a line."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from lib.sweep.records import Column, Curve

WIDTH, HEIGHT = 460, 230  # pixels
LEFT, RIGHT, TOP, BOTTOM = 48, 12, 10, 30
COLOURS = 8  # --c0 to --c7 in the style sheet
TICKS = 5  # of the values, about


class Dot(NamedTuple):
    """A point in pixels, and what it says when pointed at."""

    x: float
    y: float
    low: float
    high: float
    says: str


class Drawn(NamedTuple):
    """A curve ready to be written down."""

    title: str
    lines: list[tuple[str, int, str, list[Dot]]]  # name, colour, path, points
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    says: str  # all of it in words


def places(columns: Sequence[Column]) -> tuple[dict[str, float], list[tuple[float, str]]]:
    """Where each model stands from left to right, and the ticks below: by the logarithm of its step, with step 0 in
    front of the first; or in their order, where a model says no step."""
    steps = [one.step for one in columns]
    if None in steps or len(set(steps)) < 2:
        order = {one.name: float(i) for i, one in enumerate(columns)}
        scaled = _scaled(order)
        return scaled, [(scaled[one.name], str(i + 1)) for i, one in enumerate(columns)]
    least = min(step for step in steps if step)
    logs = {step: math.log10(step) if step else math.log10(least) - 0.3 for step in {*steps}}
    scaled = _scaled(logs)
    first, last = min(logs.values()), max(logs.values())
    ticks = [(scaled[0], "0")] if 0 in scaled else []
    for power in range(math.ceil(math.log10(least)), math.floor(last) + 1):
        ticks.append((_scale(power, first, last), f"{10**power:,}"))
    if len(ticks) < 2:
        ticks = [(scaled[step], f"{step:,}") for step in sorted({min(steps), max(steps)})]
    return {one.name: scaled[one.step] for one in columns}, ticks


def draw(curve: Curve, x: Mapping[str, float], x_ticks: list[tuple[float, str]], colours: Mapping[str, int]) -> Drawn:
    """A curve, in the places and colours that all curves of a page have."""
    points = [point for line in curve.lines.values() for point in line]
    ticks = _ticks(min(point.low for point in points), max(point.high for point in points))

    def y(value: float) -> float:
        return round(TOP + (HEIGHT - TOP - BOTTOM) * (ticks[-1] - value) / (ticks[-1] - ticks[0]), 1)

    lines = []
    for name, found in curve.lines.items():
        dots = [
            Dot(
                x[point.model],
                y(point.value),
                y(point.low),
                y(point.high),
                f"{point.model}: {point.value:.3g} [{point.low:.3g}, {point.high:.3g}], N = {point.n}",
            )
            for point in found
        ]
        path = "M" + "L".join(f"{dot.x:g} {dot.y:g}" for dot in dots)
        lines.append((name, colours[name] % COLOURS, path, dots))
    ends = [f"{name} {line[0].value:.3g} to {line[-1].value:.3g}" for name, line in curve.lines.items()]
    y_ticks = [(y(tick), f"{tick:g}") for tick in ticks]
    return Drawn(curve.title, lines, x_ticks, y_ticks, f"{curve.title}, first to last: {', '.join(ends)}")


def _scaled(values: Mapping) -> dict:
    first, last = min(values.values()), max(values.values())
    return {key: _scale(value, first, last) for key, value in values.items()}


def _scale(value: float, first: float, last: float) -> float:
    share = (value - first) / (last - first) if last > first else 0.5
    return round(LEFT + 8 + (WIDTH - LEFT - RIGHT - 16) * share, 1)


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers at equal distances that hold both."""
    rough = (high - low or 1) / TICKS
    power = 10 ** math.floor(math.log10(rough))
    gap = next(step * power for step in (1, 2, 5, 10) if step * power >= rough)
    first = math.floor(low / gap)
    last = max(math.ceil(high / gap), first + 1)
    return [round(gap * i, 10) for i in range(first, last + 1)]
