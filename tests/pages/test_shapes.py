"""What the bench times on other shapes is the same both ways, on a small model of each family it is for."""

import pytest

from benchmarks import shapes
from benchmarks.shapes import PARTS_OF_SHAPES, SHAPES, case_of, circuit_of

SMALL = {"num_hidden_layers": 12, "hidden_size": 24, "intermediate_size": 40, "vocab_size": 97}
HEADS = {"gpt_neox": {"num_attention_heads": 4}, "llama": {"num_attention_heads": 6, "num_key_value_heads": 2}}


@pytest.mark.parametrize("name", SHAPES)
def test_instruments_and_loops_agree_on_everything_that_is_timed(name, monkeypatch):
    model_type, config = SHAPES[name]
    monkeypatch.setattr(shapes, "SHAPES", {name: (model_type, {**config, **SMALL, **HEADS[model_type]})})
    case = case_of(name, 4)
    for part in PARTS_OF_SHAPES.values():
        for work in part(case):
            table = work.fast()
            for pick, loop in work.samples:
                assert (pick(table) - loop()).abs().max() < 1e-4, work.name


@pytest.mark.parametrize(("layers", "heads"), [(12, 12), (30, 9), (12, 4)])
def test_the_circuit_has_twenty_heads_that_are_there(layers, heads):
    classes = circuit_of(layers, heads)
    members = [head for one in classes for head in one]
    assert len(members) == len({*members}) == 20
    assert all(layer < layers and index < heads for layer, index in members)
    movers = classes[shapes.MOVERS]
    assert all(layer >= 2 * layers // 3 for layer, _ in movers)
    assert {*movers.values()} == {"END"}
