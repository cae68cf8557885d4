"""Path patching: equal to the recipe of hooked passes, for one sender or several, and different from near misses."""

import pytest
import torch

from ioi_fixtures.controls import hook_loops
from ioi_fixtures.controls.random_families import random_of
from ioi_fixtures.controls.random_model import one_thread, other_names, prompts, random_model
from lib.instruments.path_patching import path_patch_to_heads, path_patch_to_logits, receivers_of
from lib.models.heads import Head, heads
from tests.support.rounding import agree, of_logits

SHAPE = {"n_layer": 4, "n_head": 3, "n_embd": 24}
JOINT = [heads("0.1 2.2"), heads("1.0"), (), heads("3.1 0.0 1.2"), heads("2.0 2.1")]
# Receivers in one layer and in two, their input, and the position they receive it at.
PATHS = [
    ("2.0 3.1", "q", "END"),
    ("2.0 3.1", "k", "END"),
    ("1.1 2.0 2.2", "v", "S2"),
    ("1.1 2.0", "k", "S2"),
    ("2.1", "k", "S1+1"),
    ("1.0 3.0", "q", "S2"),
    ("3.2 1.2", "v", "S1+1"),
]


@pytest.fixture(scope="module", params=["float64", "float32"])
def case(request):
    model = random_model(**SHAPE, dtype=request.param)
    batch = prompts(12)
    tolerance = of_logits(model.weights, positions=batch.tokens.shape[1])
    with one_thread():
        yield model, batch, batch.run(model), other_names(batch).run(model), tolerance


def largest_difference(a, b):
    return float((a - b).abs().max())


@pytest.mark.parametrize("mlps", ["recomputed", "frozen"])
def test_every_head_to_the_logits_equals_one_frozen_pass_each(case, mlps):
    model, batch, clean, corrupted, tolerance = case
    fast = path_patch_to_logits(model.weights, clean, corrupted, batch.answers, mlps=mlps)
    for layer in range(4):
        for head in range(3):
            senders = [Head(layer, head)]
            slow = hook_loops.path_to_logits(model, clean, corrupted, batch.answers, senders, mlps=mlps)
            assert agree(fast[layer, head], slow, tolerance)


@pytest.mark.parametrize("mlps", ["recomputed", "frozen"])
def test_joint_senders_to_the_logits_equal_one_frozen_pass_each(case, mlps):
    model, batch, clean, corrupted, tolerance = case
    fast = path_patch_to_logits(model.weights, clean, corrupted, batch.answers, senders=JOINT, mlps=mlps)
    for measured, senders in zip(fast, JOINT, strict=True):
        slow = hook_loops.path_to_logits(model, clean, corrupted, batch.answers, senders, mlps=mlps)
        assert agree(measured, slow, tolerance)


@pytest.mark.parametrize(("receivers", "inputs", "name"), PATHS)
def test_paths_to_heads_equal_the_recipe(case, receivers, inputs, name):
    model, batch, clean, corrupted, tolerance = case
    receivers, position = heads(receivers), batch.positions[name]
    every = [[Head(layer, head)] for layer in range(4) for head in range(0, 3, 2)]
    senders = [*every, *JOINT] if inputs == "k" else every
    settings = {"receivers": receivers, "inputs": inputs, "position": position}
    fast = path_patch_to_heads(model.weights, clean, corrupted, batch.answers, senders=senders, **settings)
    for measured, sent in zip(fast, senders, strict=True):
        slow = hook_loops.path_to_heads(model, clean, corrupted, batch.answers, sent, receivers, inputs, position)
        assert agree(measured, slow, tolerance)


def test_paths_to_heads_past_frozen_mlps_equal_the_recipe(case):
    model, batch, clean, corrupted, tolerance = case
    receivers, position = heads("2.0 3.1"), batch.positions["S2"]
    settings = {"receivers": receivers, "inputs": "v", "position": position, "mlps": "frozen"}
    fast = path_patch_to_heads(model.weights, clean, corrupted, batch.answers, senders=JOINT, **settings)
    for measured, senders in zip(fast, JOINT, strict=True):
        slow = hook_loops.path_to_heads(
            model, clean, corrupted, batch.answers, senders, receivers, "v", position, mlps="frozen"
        )
        assert agree(measured, slow, tolerance)


def test_all_senders_at_once_are_the_same_as_named_ones(case):
    model, batch, clean, corrupted, tolerance = case
    settings = {"receivers": heads("2.0 3.1"), "inputs": "k", "position": batch.positions["S2"]}
    table = path_patch_to_heads(model.weights, clean, corrupted, batch.answers, **settings)
    named = path_patch_to_heads(
        model.weights, clean, corrupted, batch.answers, senders=[heads("1.2")], budget=200_000, **settings
    )
    assert table.shape == (4, 3, 12)
    assert agree(table[1, 2], named[0], tolerance)


def test_senders_that_cannot_reach_a_receiver_change_nothing(case):
    model, batch, clean, corrupted, _ = case
    settings = {"receivers": heads("2.0"), "inputs": "v", "position": batch.positions["S2"]}
    table = path_patch_to_heads(model.weights, clean, corrupted, batch.answers, **settings)
    unpatched = clean.logit_difference(batch.answers).expand(2, 3, -1)
    assert torch.equal(table[2:], unpatched)
    assert not torch.equal(table[:2], unpatched)


def test_near_misses_of_the_path_to_the_logits_give_other_values(case):
    model, batch, clean, corrupted, _ = case
    fast = path_patch_to_logits(model.weights, clean, corrupted, batch.answers, senders=[heads("0.1")])
    for wrong in ({"mlps": "frozen"}, {"position": batch.positions["S2"]}):
        slow = hook_loops.path_to_logits(model, clean, corrupted, batch.answers, heads("0.1"), **wrong)
        assert largest_difference(fast[0], slow) > 1e-2
    opposite = hook_loops.path_to_logits(model, corrupted, clean, batch.answers, heads("0.1"))
    assert largest_difference(fast[0], opposite) > 1e-2


def test_near_misses_of_the_path_to_heads_give_other_values(case):
    model, batch, clean, corrupted, _ = case
    right = {"receivers": heads("1.1 2.0"), "site": "v", "position": batch.positions["S2"]}
    fast = path_patch_to_heads(
        model.weights,
        clean,
        corrupted,
        batch.answers,
        receivers=right["receivers"],
        inputs="v",
        position=right["position"],
        senders=[heads("0.1")],
    )
    near_misses = (
        {"position": batch.positions["S1+1"]},
        {"position": batch.positions["S2"][0].expand(12)},  # the first prompt's position for every prompt
        {"site": "k"},
        {"receivers": heads("1.1")},
        {"mlps": "frozen"},
        {"freely": False},
    )
    for wrong in near_misses:
        slow = hook_loops.path_to_heads(model, clean, corrupted, batch.answers, heads("0.1"), **{**right, **wrong})
        assert largest_difference(fast[0], slow) > 1e-3, wrong


def test_joint_effects_are_not_the_sum_of_single_ones(case):
    model, batch, clean, corrupted, _ = case
    senders = [heads("0.1 1.2"), heads("0.1"), heads("1.2")]
    joint, one, other = path_patch_to_logits(
        model.weights, clean, corrupted, batch.answers, senders=senders
    ) - clean.logit_difference(batch.answers)
    assert largest_difference(joint, one + other) > 1e-3


def test_heads_that_share_keys_and_values_receive_them_as_one():
    """Four heads of a layer, of which every two share theirs."""
    weights, read = random_of("llama").weights, heads("2.3 1.0 1.1 0.2")
    assert receivers_of(weights, read, "q") == sorted(read)
    assert receivers_of(weights, read, "k") == receivers_of(weights, read, "v") == sorted(heads("0.1 1.0 2.1"))


@pytest.mark.parametrize(
    ("family", "inputs", "message"),
    [
        ("llama", "k", "the model has layers 0-3 of key/value heads 0-1$"),
        ("llama", "q", "the model has layers 0-3 of heads 0-3$"),
        ("gpt2", "k", "the model has layers 0-3 of heads 0-3$"),
    ],
)
def test_a_head_that_is_not_there_is_called_a_key_value_head_where_those_are_others(family, inputs, message):
    model, batch = random_of(family), prompts(2)
    run = batch.run(model)
    with pytest.raises(ValueError, match=message):
        path_patch_to_heads(
            model.weights, run, run, batch.answers, receivers=heads("2.4"), inputs=inputs, position=batch.last
        )


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"inputs": "z"}, "inputs is 'z': receivers take q, k, v"),
        ({"mlps": "patched"}, "mlps is 'patched': they are recomputed or frozen"),
        ({"receivers": heads("7.0")}, "there is no head 7.0"),
        ({"receivers": ()}, "^there are no receivers"),
        ({"senders": [heads("7.0")]}, "there is no head 7.0"),
        ({"position": torch.full((12,), 14)}, "^position 'position' of prompt 0 is 14, outside the prompt"),
    ],
)
def test_misuse_is_refused_with_the_reason(case, wrong, message):
    model, batch, clean, corrupted, _ = case
    right = {"receivers": heads("2.0"), "inputs": "q", "position": batch.last}
    with pytest.raises(ValueError, match=message):
        path_patch_to_heads(model.weights, clean, corrupted, batch.answers, **{**right, **wrong})


def test_misuse_of_the_path_to_the_logits_is_refused_as_well(case):
    model, batch, clean, corrupted, _ = case
    for wrong, message in (({"senders": [heads("4.0")]}, "there is no head 4.0"), ({"mlps": "kept"}, "mlps is 'kept'")):
        with pytest.raises(ValueError, match=message):
            path_patch_to_logits(model.weights, clean, corrupted, batch.answers, **wrong)
