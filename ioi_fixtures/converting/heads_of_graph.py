"""Which heads of somebody's graph make a circuit file, and what of the graph the file cannot say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ioi_fixtures.circuits.positions import BEFORE
from ioi_fixtures.converting.graph_files import Graph, GraphEdge, other_parts
from lib.models.heads import Head
from lib.one_line import counted, first_of


class Converted(NamedTuple):
    """Heads by position, the rule they were chosen by, and what was left out, each in words."""

    heads: Mapping[str, tuple[Head, ...]]
    rule: str
    left_out: tuple[str, ...]


def convert(
    graph: Graph,
    *,
    fewest: float | None = None,
    most: int | None = None,
    at: Sequence[str] = tuple(BEFORE),
    positions: Mapping[int, str] | None = None,
) -> Converted:
    """The heads of a graph's circuit.

    fewest: those that send an edge which scores so much, in size; most: so many, by the sum of what the edges they send
    score, in size; neither: those that the file counts to its circuit. at: where heads work, where the file has no
    positions. positions: what the file's positions are called here; heads at others are left out.
    Raises ValueError where the file cannot be asked so, or has no such head.
    """
    if fewest is None and most is None:
        chosen, rule = _of_the_file(graph), "those that the file counts to its circuit"
    else:
        chosen, rule = _by_score(graph, fewest, most)
    counting = [edge for edge in graph.edges if edge.chosen is not False and _size(edge) >= (fewest or 0.0)]
    sent = [edge for edge in counting if edge.source.head in chosen and edge.position is not None]
    placed = positions or {}
    places = {(edge.source.head, placed[edge.position]) for edge in sent if edge.position in placed}
    unplaced = sorted({edge.position for edge in sent} - {*placed})
    if not sent:
        places = {(head, name) for head in chosen for name in at}
    if not places:
        raise ValueError(
            f"none of its {counted(len(chosen), 'head')} is left: "
            + (f"say what its positions are, as in --position {unplaced[0]}=END" if unplaced else "choose more of them")
        )
    by_position = {name: tuple(sorted(head for head, where in places if where == name)) for name in BEFORE}
    heads = {name: found for name, found in by_position.items() if found}
    return Converted(heads, rule, tuple(_left_out(graph, chosen, unplaced, bool(sent))))


def _of_the_file(graph: Graph) -> set[Head]:
    if graph.chosen_heads is not None:
        return {*graph.chosen_heads}
    if all(edge.chosen is None for edge in graph.edges):
        raise ValueError("it has scores alone, and does not say which edges count: use --threshold or --heads")
    return {edge.source.head for edge in graph.edges if edge.chosen and edge.source.head}


def _by_score(graph: Graph, fewest: float | None, most: int | None) -> tuple[set[Head], str]:
    sums: dict[Head, float] = {}
    largest: dict[Head, float] = {}
    for edge in graph.edges:
        if edge.source.head and edge.score is not None:
            sums[edge.source.head] = sums.get(edge.source.head, 0.0) + _size(edge)
            largest[edge.source.head] = max(largest.get(edge.source.head, 0.0), _size(edge))
    if not sums:
        raise ValueError("no edge that a head sends has a score: leave out --threshold and --heads")
    kept, rules = {*sums}, []
    if fewest is not None:
        kept = {head for head in kept if largest[head] >= fewest}
        rules.append(f"those that send an edge of a score of {fewest:g} or more, in size")
    if most is not None:
        kept = {*sorted(kept, key=lambda head: (-sums[head], head))[:most]}
        rules.append(f"the {most} with the largest sum of scores, in size, of the edges they send")
    return kept, " and of these ".join(rules)


def _size(edge: GraphEdge) -> float:
    """How much an edge scores, in size; one without a score counts whatever is asked."""
    return float("inf") if edge.score is None else abs(edge.score)


def _left_out(graph: Graph, chosen: set[Head], unplaced: list[int], placed: bool) -> list[str]:
    """What the file has and a circuit file has not."""
    counts = [edge for edge in graph.edges if edge.chosen is not False]
    mlps = other_parts(counts)
    between = [edge for edge in counts if _is_between(edge, chosen)]
    others = {edge.source.head for edge in graph.edges if edge.source.head} - chosen
    named = first_of(mlps, 3)
    said = {
        f"{counted(len(mlps), 'MLP')} ({named}): a file has heads alone, and lets MLPs compute": mlps,
        f"{counted(len(others), 'other head')} of the file": others,
        f"{counted(len(between), 'edge')} between these heads: a file has paths between classes (reads)": between,
        f"heads at {', '.join(map(str, unplaced))}, positions that have no name here (--position)": unplaced,
        "positions, which the file does not have: take out heads where they do not work": not placed,
    }
    return [words for words, there in said.items() if there]


def _is_between(edge: GraphEdge, chosen: set[Head]) -> bool:
    return edge.source.head in chosen and edge.target.head in chosen
