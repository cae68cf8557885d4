"""The circuit that a file states, drawn: its classes by layer and position, joined by what patching a path changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from statistics import mean

import pytest
from torch import Tensor

from ioi_fixtures.circuits.circuit_file import CircuitFile, Edge, HeadClass
from ioi_fixtures.circuits.positions import BEFORE
from ioi_fixtures.sentences.prompts import Batch
from lib.instruments.path_patching import path_patch_to_logits
from lib.judging import drawings
from lib.judging.drawings import Graph, Node
from lib.models.activations import Run
from lib.models.model import Model

LOGITS = "logits"
# A class has a column of its own, so that no two are in one place. Those of one position are in a band, END's on
# top, and neighbours in it at different heights, so that few paths pass by a class that they do not reach.
BAND, HEIGHTS, OF_LOGITS = 4.0, (0.0, 1.7, -0.5), -0.8
MOST = 6  # heads of a class that are named


@pytest.fixture(scope="session")
def stated_graph(
    circuit_file: CircuitFile,
    patched_edge: Callable[[Edge], Tensor],
    model: Model,
    ioi: Batch,
    ioi_run: Run,
    abc_run: Run,
) -> Callable[[], Graph]:
    """Each path that is stated, and that of each class which writes to the logits, patched from ABC."""

    def drawn() -> Graph:
        paths = {edge: float(patched_edge(edge)[0].mean()) for edge in circuit_file.edges}
        writers = [one for one in circuit_file.classes if one.writes]
        patched = path_patch_to_logits(
            model.weights, ioi_run, abc_run, ioi.answers, senders=[one.heads for one in writers]
        )
        change = (patched - ioi_run.logit_difference(ioi.answers)).mean(-1).tolist()
        return graph(circuit_file, paths, dict(zip(map(str, writers), change, strict=True)))

    return drawn


def graph(circuit: CircuitFile, paths: Mapping[Edge, float], to_logits: Mapping[str, float]) -> Graph:
    """The drawing, from the change of the logit difference by each path: those stated, and those of classes, by their
    names, to the logits."""
    in_order = sorted(circuit.classes, key=lambda one: mean(head.layer for head in one.heads))
    labels = {one.name: f"{one.name}\n{_in_lines(one)}" for one in in_order}
    bands = [position for position in BEFORE if any(one.at == position for one in in_order)]
    nodes, seen = [], dict.fromkeys(bands, 0)
    for column, one in enumerate(in_order):
        row = BAND * bands.index(one.at) + HEIGHTS[seen[one.at] % len(HEIGHTS)]
        seen[one.at] += 1
        nodes.append(Node(name=labels[one.name], group=one.name, column=column, row=row))
    nodes.append(Node(name=LOGITS, group=LOGITS, column=len(nodes), row=BAND * (len(bands) - 1) + OF_LOGITS))
    edges = [
        drawings.Edge(source=labels[str(edge.sender)], target=labels[str(edge.receiver)], value=value, says=edge.input)
        for edge, value in paths.items()
    ]
    edges += [drawings.Edge(source=labels[name], target=LOGITS, value=value) for name, value in to_logits.items()]
    title = "The circuit as stated: the effect of patching each path from ABC (red lowers the logit difference)"
    return Graph(title=title, unit="logit difference", nodes=nodes, edges=edges)


def _in_lines(one: HeadClass) -> str:
    """Its heads, so many as fit beside others, and where they work; three words a line."""
    more = [f"and {len(one.heads) - MOST} more"] if len(one.heads) > MOST else []
    words = [*map(str, one.heads[:MOST]), *more, f"at {one.at}"]
    return "\n".join(" ".join(words[i : i + 3]) for i in range(0, len(words), 3))
