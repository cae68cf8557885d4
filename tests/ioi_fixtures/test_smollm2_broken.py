"""Copies of the real model are broken in the place that they say, and nowhere else."""

import pytest
import torch

from ioi_fixtures.circuits.circuit_file import read_circuit
from ioi_fixtures.circuits.library import FILE, FOLDER
from ioi_fixtures.smollm2.broken import BROKEN, D_HEAD, NEUTRAL, last_bit_moved, rounded_again, write
from lib.models.heads import heads

LAYERS, D, KEYS = range(17, 24), 9 * D_HEAD, 3 * D_HEAD
SHAPES = {"q": (D, D), "k": (KEYS, D), "v": (KEYS, D), "o": (D, D)}


@pytest.fixture
def tensors():
    torch.manual_seed(0)
    return {
        f"model.layers.{layer}.self_attn.{name}_proj.weight": torch.randn(shape)
        for layer in LAYERS
        for name, shape in SHAPES.items()
    }


def changed(name, tensors):
    """Which heads' blocks of which matrices a change touches, and the config it leaves."""
    before = {key: one.clone() for key, one in tensors.items()}
    config = {"rope_parameters": {"rope_theta": 100_000.0}}
    BROKEN[name].change(tensors, config)
    touched = set()
    for key, old in before.items():
        layer, matrix = int(key.split(".")[2]), key.split(".")[4][0]
        differs = (tensors[key] != old).any(0 if matrix == "o" else 1)
        touched |= {f"{layer}.{index} {matrix}" for index in (differs.nonzero() // D_HEAD).flatten().tolist()}
    return touched, config["rope_parameters"]["rope_theta"]


@pytest.mark.parametrize(
    ("name", "touched"),
    [
        ("suppressor_silent", {"23.3 o"}),
        ("suppressor_flipped", {"23.3 o"}),
        ("suppressor_moved", {"23.3 q", "23.3 o", "23.5 q", "23.5 o"}),
        ("movers_silent", {"23.0 o", "23.2 o"}),
        ("inhibition_blind", {"19.2 q", "20.0 q", "22.5 q"}),
        ("induction_keys_shifted", {"17.1 k", "18.2 k"}),
        ("groups_swapped", {"23.0 k", "23.1 k", "23.0 v", "23.1 v"}),
        ("rotary_base_changed", set()),
    ],
)
def test_a_change_touches_what_it_says_and_nothing_else(name, touched, tensors):
    found, base = changed(name, tensors)
    assert found == touched
    assert (base == 100_000.0) == (name != "rotary_base_changed")


def test_a_head_that_moves_computes_what_it_did_at_its_new_address(tensors):
    queries, outputs = (tensors[f"model.layers.23.self_attn.{name}_proj.weight"].clone() for name in "qo")
    BROKEN["suppressor_moved"].change(tensors, {})
    here, there = slice(3 * D_HEAD, 4 * D_HEAD), slice(5 * D_HEAD, 6 * D_HEAD)
    assert torch.equal(tensors["model.layers.23.self_attn.q_proj.weight"][there], queries[here])
    assert torch.equal(tensors["model.layers.23.self_attn.o_proj.weight"][:, there], outputs[:, here])


def test_the_last_bit_moved_is_bfloat16s():
    weight = torch.tensor([1.0, 1.5, -3.0, 0.01, 0.0]).repeat(50, 1)
    step = (last_bit_moved(weight, torch.Generator().manual_seed(0)) - weight).abs()
    assert torch.equal(step, torch.tensor([2**-7, 2**-7, 2**-6, 2.0**-14, 0]).repeat(50, 1))


def test_noise_is_within_half_a_step_of_each_block_and_fills_it():
    torch.manual_seed(1)
    steps = torch.rand(400, 1) + 0.1
    weight = (steps * torch.randint(-8, 8, (400, 32))).view(200, 64)
    noise = (rounded_again(weight, torch.Generator().manual_seed(0)) - weight).view(400, 32) / steps
    assert noise.abs().max() <= 0.5 + 1e-5
    assert noise.std() == pytest.approx(12**-0.5, rel=0.02)  # that of what is uniform over one step


def test_the_control_is_there_and_what_is_broken_names_its_claims():
    assert BROKEN[NEUTRAL].named == ()
    assert all(broken.named for name, broken in BROKEN.items() if name != NEUTRAL)
    circuit = read_circuit(FOLDER / "smollm2-135m" / FILE)
    stated = {head for one in circuit.classes for head in one.heads}
    assert {*heads("23.3 23.0 23.2 19.2 20.0 22.5 17.3 17.4 18.6")} <= stated


def test_an_unknown_name_is_refused_with_those_there_are(tmp_path):
    with pytest.raises(ValueError, match="'group_swapped' is no broken copy: did you mean 'groups_swapped'"):
        write("group_swapped", tmp_path)
