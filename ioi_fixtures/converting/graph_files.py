"""Other tools' circuit files as lists of edges between the parts of a model.

EAP-IG and MIB write two tables (hannamw/EAP-IG, Graph.to_json), whose parts are input, a9.h9, m9 and logits:

    {"nodes": {"a5.h5": {"in_graph": true}}, "edges": {"a5.h5->a8.h6<v>": {"score": 0.1, "in_graph": true}}}

auto-circuit names edges (UFO-101/auto-circuit, Edge.name), whose parts are Resid Start, A9.9, MLP 9 and Resid End. Read
are a list of names, which are the circuit, a table of scores, and a list of tables:

    ["A5.5->A8.6.V"]    {"A5.5->A8.6.V": 0.1}    [{"name": "A5.5->A8.6.V", "score": 0.1, "seq_idx": 10}]
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from lib.models.heads import Head

HEAD = re.compile(r"(?:a(\d+)\.h(\d+)|A(\d+)\.(\d+))(?:<([qkv])>|\.([QKV]))?")
OTHER = re.compile(r"input|logits|m\d+|Resid Start|Resid End|MLP \d+")


class Part(NamedTuple):
    """One end of an edge: a head, or what is none (head is None), and which of a head's inputs is meant."""

    name: str
    head: Head | None
    input: str = ""


class GraphEdge(NamedTuple):
    """An edge; score and position as far as the file has them. chosen: whether the file counts it to its circuit; None
    where it does not say."""

    source: Part
    target: Part
    score: float | None
    chosen: bool | None
    position: int | None


class Graph(NamedTuple):
    """A whole file: which tool's, its edges, and the heads it counts to its circuit; None where it does not say."""

    tool: str
    edges: tuple[GraphEdge, ...]
    chosen_heads: frozenset[Head] | None = None
    model: str = ""


def read_graph(path: Path) -> Graph:
    """Raises OSError, or ValueError that says what is wrong and where."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is not JSON ({error}): save EAP-IG's graph with to_json, not to_pt") from error
    try:
        return _of_eap_ig(content) if isinstance(content, dict) and "edges" in content else _of_auto_circuit(content)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _of_eap_ig(content: Mapping) -> Graph:
    edges = _table(content, "edges")
    nodes = _table(content, "nodes") if "nodes" in content else {}
    chosen = {name: _flag(name, node) for name, node in nodes.items()}
    heads = frozenset(head for name in chosen if chosen[name] and (head := _part(name).head))
    shape = content.get("cfg", {})
    sizes = [shape.get(key) for key in ("n_layers", "n_heads")] if isinstance(shape, dict) else [None]
    words = f"{sizes[0]} layers of {sizes[1]} heads" if None not in sizes else ""
    found = tuple(_edge(name, edge) for name, edge in edges.items())
    return Graph("EAP-IG", found, heads if True in chosen.values() else None, words)


def _of_auto_circuit(content: object) -> Graph:
    if isinstance(content, dict):
        return Graph("auto-circuit", tuple(_edge(name, {"score": score}) for name, score in content.items()))
    if not isinstance(content, list):
        raise ValueError("it holds neither nodes and edges (EAP-IG, MIB) nor a list or table of edges (auto-circuit)")
    return Graph("auto-circuit", tuple(_edge(*_named(one)) for one in content))


def _named(one: object) -> tuple[str, Mapping]:
    """An entry of a list of edges: its name, and what else is said of it. A list of edges is the circuit."""
    if isinstance(one, str):
        return one, {"in_graph": True}
    if isinstance(one, dict) and isinstance(one.get("name"), str):
        return one["name"], {"in_graph": True, **one} if "score" not in one else one
    raise ValueError(f'{one!r} is no edge: write "A5.5->A8.6.V", or a table with its name')


def _edge(name: str, said: object) -> GraphEdge:
    said = said if isinstance(said, dict) else {"in_graph": said}
    ends = name.split("->")
    if len(ends) != 2:
        raise ValueError(f"{name!r} is no edge: an edge is written source->target")
    score, position = said.get("score"), said.get("seq_idx")
    if isinstance(score, bool) or not isinstance(score, int | float | None):
        raise ValueError(f"{name!r}: its score {score!r} is no number")
    if isinstance(position, bool) or not isinstance(position, int | None):
        raise ValueError(f"{name!r}: its seq_idx {position!r} is no position")
    return GraphEdge(_part(ends[0]), _part(ends[1]), score, _flag(name, said), position)


def _flag(name: str, said: object) -> bool | None:
    flag = said.get("in_graph") if isinstance(said, dict) else said
    if not isinstance(flag, bool | None):
        raise ValueError(f"{name!r}: in_graph is {flag!r}, neither true nor false")
    return flag


def _part(name: str) -> Part:
    if found := HEAD.fullmatch(name):
        layer, index = (int(found[1] or found[3]), int(found[2] or found[4]))
        return Part(name, Head(layer, index), (found[5] or found[6] or "").lower())
    if OTHER.fullmatch(name):
        return Part(name, None)
    raise ValueError(
        f"{name!r} is no part of a model: use a9.h9, m9, input, logits, or A9.9, MLP 9, Resid Start, Resid End"
    )


def _table(content: Mapping, key: str) -> Mapping:
    if not isinstance(content[key], dict):
        raise ValueError(f"{key} is no table")
    return content[key]


def other_parts(edges: Iterable[GraphEdge]) -> list[str]:
    """The names of the parts that are no heads, input and output aside, in order of first mention."""
    names = [part.name for edge in edges for part in (edge.source, edge.target) if part.head is None]
    return [name for name in dict.fromkeys(names) if name.lower().startswith("m")]
