"""Other tools' graphs become circuit files that can be asked, and what of them is lost is said."""

import json

import pytest

from ioi_fixtures.circuits.circuit_file import read_circuit
from ioi_fixtures.circuits.positions import BEFORE
from ioi_fixtures.converting import __main__ as command
from lib.models.heads import heads

NODES = {name: {"in_graph": name != "a3.h3"} for name in ("input", "a5.h5", "a8.h6", "a9.h9", "a3.h3", "m5", "logits")}
EDGES = {
    "input->a5.h5<k>": (0.1, True),
    "a5.h5->a8.h6<v>": (0.4, True),
    "a8.h6->a9.h9<q>": (-0.5, True),
    "a8.h6->m5": (-0.2, True),
    "a9.h9->logits": (0.6, True),
    "a3.h3->a9.h9<v>": (0.05, False),
}
EAP_IG = {
    "cfg": {"n_layers": 12, "n_heads": 12, "parallel_attn_mlp": False, "d_model": 768},
    "nodes": NODES,
    "edges": {name: {"score": score, "in_graph": chosen} for name, (score, chosen) in EDGES.items()},
}
SCORES = {"A5.5->A8.6.V": 0.4, "A8.6->A9.9.Q": -0.5, "A8.6->MLP 9": 0.2, "A9.9->Resid End": 0.6, "A3.3->A9.9.V": 0.05}
PLACED = [
    {"name": "A5.5->A8.6.V", "seq_idx": 10, "score": 0.4},
    {"name": "A4.11->A5.5.K", "seq_idx": 5, "score": 0.3},
    {"name": "A9.9->Resid End", "seq_idx": 14, "score": 0.6},
    {"name": "A3.3->Resid End", "seq_idx": 14, "score": 0.01},
]


def converted(folder, content, *options):
    """The circuit and the text of the file that is written."""
    path = folder / "graph.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    assert command.main([str(path), *options]) == 0
    return read_circuit(folder / "graph.toml"), (folder / "graph.toml").read_text(encoding="utf-8")


def test_a_graph_of_eap_ig_gives_the_heads_it_counts_to_its_circuit(tmp_path):
    circuit, text = converted(tmp_path, EAP_IG)
    assert {one.at: one.heads for one in circuit.classes} == dict.fromkeys(BEFORE, heads("5.5 8.6 9.9"))
    assert circuit.model == "12 layers of 12 heads"
    for left_out in (
        "1 MLP (m5): a file has heads alone",
        "1 other head of the file",
        "2 edges between these heads",
        "positions, which the file does not have",
    ):
        assert f"#   {left_out}" in text


@pytest.mark.parametrize(
    ("options", "left"),
    [
        (["--heads", "2"], "8.6 9.9"),  # .7 and .6 in all, where 5.5 has .4
        (["--threshold", "0.6"], "9.9"),
        (["--threshold", "0.4"], "5.5 8.6 9.9"),
        (["--threshold", "0.4", "--heads", "1"], "8.6"),
        (["--heads", "99"], "3.3 5.5 8.6 9.9"),
    ],
)
def test_heads_are_chosen_by_score_or_by_number(options, left, tmp_path):
    for content in (EAP_IG, SCORES):
        circuit, _ = converted(tmp_path, content, *options, "--at", "END", "--overwrite")
        assert {one.at: one.heads for one in circuit.classes} == {"END": heads(left)}


def test_a_list_of_auto_circuits_edges_is_the_circuit(tmp_path):
    circuit, text = converted(tmp_path, [*SCORES], "--at", "S2", "END")
    assert {one.at: one.heads for one in circuit.classes} == dict.fromkeys(("S2", "END"), heads("3.3 5.5 8.6 9.9"))
    assert "1 MLP (MLP 9)" in text


def test_positions_that_are_named_are_kept_and_the_others_said(tmp_path):
    named = ["--position", "14=END", "--position", "10=S2"]
    circuit, text = converted(tmp_path, PLACED, "--threshold", "0.1", *named)
    assert {one.at: one.heads for one in circuit.classes} == {"S2": heads("5.5"), "END": heads("9.9")}
    assert "#   heads at 5, positions that have no name here (--position)" in text
    assert "which the file does not have" not in text


@pytest.mark.parametrize(
    ("content", "options", "says"),
    [
        (SCORES, [], "does not say which edges count: use --threshold or --heads"),
        ([*SCORES], ["--heads", "3"], "no edge that a head sends has a score: leave out --threshold and --heads"),
        (PLACED, ["--heads", "3"], "say what its positions are, as in --position 5=END"),
        (SCORES, ["--threshold", "7"], "none of its 0 heads is left: choose more of them"),
        ({"edges": 3}, [], "edges is no table"),
        ({"edges": {"a9.h9": {}}}, [], "'a9.h9' is no edge: an edge is written source->target"),
        ({"edges": {"head9->logits": {}}}, [], "'head9' is no part of a model"),
        ({"A9.9->Resid End": "big"}, ["--heads", "1"], "its score 'big' is no number"),
        ([3], [], "3 is no edge"),
        (3, [], "holds neither nodes and edges (EAP-IG, MIB) nor a list or table of edges"),
        (PLACED, ["--heads", "3", "--position", "14=end"], "--position 14=end: write the index and one of IO, S1"),
    ],
)
def test_what_cannot_be_converted_is_said_in_one_line(content, options, says, tmp_path, capsys):
    path = tmp_path / "graph.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(SystemExit) as ended:
        command.main([str(path), *options])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert says in said
    assert len(said.splitlines()) == 1
    assert not (tmp_path / "graph.toml").exists()


def test_what_is_no_json_and_what_is_there_are_refused(tmp_path, capsys):
    path = tmp_path / "graph.pt"
    path.write_bytes(b"\x80\x02}q\x00")
    for arguments, says in (
        ([str(path)], "save EAP-IG's graph with to_json"),
        ([str(tmp_path / "no")], "No such file"),
    ):
        with pytest.raises(SystemExit):
            command.main(arguments)
        assert says in capsys.readouterr().err
    (tmp_path / "graph.toml").write_text("mine", encoding="utf-8")
    with pytest.raises(SystemExit):
        command.main([str(path)])
    assert "is there: name another file with -o, or add --overwrite" in capsys.readouterr().err
    assert (tmp_path / "graph.toml").read_text(encoding="utf-8") == "mine"
