"""The drawing of a stated circuit has every class once, apart from the others, and every path with its value."""

from pathlib import Path

import pytest

from ioi_fixtures.circuits.circuit_file import read_circuit
from ioi_fixtures.circuits.library import path_of
from ioi_fixtures.pytest_fixtures.stated_graph import LOGITS, graph
from lib.reports.figures import describe, figure

STATED = """
[classes."name mover"]
heads = "9.6 9.9 10.0 9.1 9.2 9.3 9.4 9.5"
at = "END"
writes = "answer"
reads = [{ from = "S-inhibition", input = "q" }, { from = "early", input = "k" }]
[classes."S-inhibition"]
heads = "7.3 7.9"
at = "END"
[classes.early]
heads = "3.0"
at = "S2"
"""


@pytest.fixture
def circuit(tmp_path):
    path = tmp_path / "circuit.toml"
    path.write_text(STATED, encoding="utf-8")
    return read_circuit(path)


def drawn(circuit):
    paths = {edge: -1.0 - i for i, edge in enumerate(circuit.edges)}
    return graph(circuit, paths, {one.name: 0.5 for one in circuit.classes if one.writes})


def test_every_class_and_every_path_is_there(circuit):
    drawing = drawn(circuit)
    assert [node.group for node in drawing.nodes] == ["early", "S-inhibition", "name mover", LOGITS]
    names = {node.name: node.group for node in drawing.nodes}
    edges = [(names[edge.source], names[edge.target], edge.says, edge.value) for edge in drawing.edges]
    assert edges == [
        ("S-inhibition", "name mover", "q", -1.0),
        ("early", "name mover", "k", -2.0),
        ("name mover", LOGITS, "", 0.5),
    ]


def test_a_class_of_many_heads_names_some_and_counts_the_rest(circuit):
    names = [node.name for node in drawn(circuit).nodes]
    assert "S-inhibition\n7.3 7.9 at END" in names
    assert "name mover\n9.6 9.9 10.0\n9.1 9.2 9.3\nand 2 more at END" in names


@pytest.mark.parametrize("circuit", [path_of(Path("smollm2-135m")), Path("ioi_fixtures/trained/circuit.toml")], ids=str)
def test_no_two_classes_are_in_one_place_and_later_positions_are_above(circuit):
    circuit = read_circuit(circuit)
    nodes = drawn(circuit).nodes
    assert len({node.column for node in nodes}) == len(nodes)
    rows = {one.at: [node.row for node in nodes if node.group == one.name] for one in circuit.classes}
    assert all(min(rows["END"]) > max(of) for at, of in rows.items() if at != "END")


def test_what_goes_along_a_path_is_told(circuit):
    drawing = drawn(circuit)
    assert "(k) -2" in describe(drawing)
    assert any("(q): -1" in text for trace in figure(drawing)["data"] for text in trace.get("text", ()))
