"""Ablation: equal to hooked passes for every kind of circuit, each prompt at its own positions, and never by luck."""

import pytest
import torch

from ioi_fixtures.controls import hook_loops
from ioi_fixtures.controls.random_model import one_thread, other_names, prompts, random_model
from lib.instruments.ablation import knock_out, means_by_group, run_circuits
from lib.models.heads import Head, heads
from tests.support.rounding import agree, of_logits

SHAPE = {"n_layer": 4, "n_head": 3, "n_embd": 24}
CIRCUIT = {
    Head(0, 1): "S2",
    Head(1, 0): "S1+1",
    Head(1, 2): ("S2", "END"),
    Head(2, 0): "S2",
    Head(2, 1): "END",
    Head(3, 0): "END",
    Head(3, 2): "END",
}
WITHOUT_END = {Head(0, 0): "S1+1", Head(2, 2): "S2"}
CIRCUITS = [
    CIRCUIT,
    {},
    WITHOUT_END,
    *[{head: where for head, where in CIRCUIT.items() if head != gone} for gone in CIRCUIT],
    {head: where for head, where in CIRCUIT.items() if head.layer < 3},
    {Head(layer, head): ("S1+1", "S2", "END") for layer in range(4) for head in range(3)},
]


@pytest.fixture(scope="module", params=["float64", "float32"])
def case(request):
    model = random_model(**SHAPE, dtype=request.param)
    batch = prompts(12)
    clean, reference = batch.run(model), other_names(batch).run(model)
    tolerance = of_logits(model.weights, positions=batch.tokens.shape[1])
    with one_thread():
        yield model, batch, clean, reference, tolerance


def replacement(kind, batch, reference):
    if kind == "mean":
        return means_by_group(reference["z"], batch.template)
    return {"zero": torch.zeros_like, "resample": torch.clone}[kind](reference["z"])


def largest_difference(a, b):
    return float((a - b).abs().max())


@pytest.mark.parametrize("kind", ["mean", "zero", "resample"])
def test_circuits_alone_equal_one_hooked_pass_each(case, kind):
    model, batch, clean, reference, tolerance = case
    values = replacement(kind, batch, reference)
    fast = run_circuits(model.weights, clean, CIRCUITS, positions=batch.positions, values=values, answers=batch.answers)
    slow = torch.stack(
        [hook_loops.run_circuit(model, clean, circuit, batch.positions, values, batch.answers) for circuit in CIRCUITS]
    )
    assert fast.shape == (len(CIRCUITS), 12)
    assert agree(fast, slow, tolerance)


def test_no_head_at_all_is_a_circuit_too(case):
    model, batch, clean, reference, tolerance = case
    settings = {"positions": batch.positions, "values": reference["z"], "answers": batch.answers}
    [empty] = run_circuits(model.weights, clean, [{}], **settings)
    slow = hook_loops.run_circuit(model, clean, {}, batch.positions, reference["z"], batch.answers)
    assert agree(empty, slow, tolerance)


def test_circuits_that_keep_no_head_at_the_last_position(case):
    model, batch, clean, reference, tolerance = case
    settings = {"positions": batch.positions, "values": reference["z"], "answers": batch.answers}
    fast = run_circuits(model.weights, clean, [WITHOUT_END, {}], **settings)
    for measured, circuit in zip(fast, [WITHOUT_END, {}], strict=True):
        slow = hook_loops.run_circuit(model, clean, circuit, batch.positions, reference["z"], batch.answers)
        assert agree(measured, slow, tolerance)


def test_keeping_every_prompt_at_all_prompts_positions_gives_other_values(case):
    model, batch, clean, reference, _ = case
    values = means_by_group(reference["z"], batch.template)
    fast = run_circuits(
        model.weights, clean, [CIRCUIT], positions=batch.positions, values=values, answers=batch.answers
    )
    wrong = hook_loops.run_circuit(model, clean, CIRCUIT, batch.positions, values, batch.answers, union=True)
    assert largest_difference(fast[0], wrong) > 1e-2


def test_a_circuit_differs_from_itself_without_any_one_head(case):
    model, batch, clean, reference, _ = case
    fast = run_circuits(
        model.weights, clean, CIRCUITS, positions=batch.positions, values=reference["z"], answers=batch.answers
    )
    without_one = fast[3 : 3 + len(CIRCUIT)]
    assert (without_one - fast[0]).abs().amax(1).min() > 1e-3


KNOCKOUTS = [
    {Head(2, 1): "END"},
    {Head(3, 0): "END", Head(1, 2): "END"},
    {},
    {Head(0, 2): "S2"},
    {Head(1, 0): "S1+1", Head(1, 1): "S1+1", Head(3, 1): "S1+1"},
    {Head(0, 1): "S2", Head(1, 0): "S1+1", Head(2, 1): "END", Head(2, 2): ("S2", "END")},
]


@pytest.mark.parametrize("kind", ["mean", "zero", "resample"])
def test_knock_outs_equal_one_hooked_pass_each(case, kind):
    model, batch, clean, reference, tolerance = case
    values = replacement(kind, batch, reference)
    fast = knock_out(model.weights, clean, KNOCKOUTS, positions=batch.positions, values=values, answers=batch.answers)
    slow = torch.stack(
        [hook_loops.knock_out(model, clean, gone, batch.positions, values, batch.answers) for gone in KNOCKOUTS]
    )
    assert agree(fast, slow, tolerance)
    assert (fast[[0, 1, 3, 5]] - clean.logit_difference(batch.answers)).abs().amax(1).min() > 1e-3


def test_a_knock_out_at_another_position_gives_other_values(case):
    model, batch, clean, reference, _ = case
    settings = {"positions": batch.positions, "values": reference["z"], "answers": batch.answers}
    at_end, at_s2 = knock_out(model.weights, clean, [{Head(1, 1): "END"}, {Head(1, 1): "S2"}], **settings)
    assert largest_difference(at_end, at_s2) > 1e-3


def test_a_small_budget_changes_nothing_but_the_batches(case):
    model, batch, clean, reference, tolerance = case
    settings = {"positions": batch.positions, "values": reference["z"], "answers": batch.answers}
    for measure, sets in ((run_circuits, CIRCUITS), (knock_out, KNOCKOUTS)):
        whole = measure(model.weights, clean, sets, **settings)
        split = measure(model.weights, clean, sets, **settings, budget=400_000)
        assert agree(whole, split, tolerance)


def test_a_head_is_knocked_out_at_the_first_position(case):
    model, batch, clean, reference, tolerance = case
    positions, heads_out = {"first": torch.zeros_like(batch.last)}, {Head(1, 1): "first"}
    settings = {"positions": positions, "values": reference["z"] + 1, "answers": batch.answers}
    [fast] = knock_out(model.weights, clean, [heads_out], **settings)
    slow = hook_loops.knock_out(model, clean, heads_out, positions, reference["z"] + 1, batch.answers)
    assert agree(fast, slow, tolerance)
    assert largest_difference(fast, clean.logit_difference(batch.answers)) > 1e-3


def test_means_are_taken_within_a_group_and_given_to_whoever_wants_it():
    z = torch.tensor([0.0, 1.0, 3.0, 3.0]).view(1, 4, 1, 1, 1)
    groups = torch.tensor([7, 3, 7, 7])
    assert means_by_group(z, groups).flatten().tolist() == [2, 1, 2, 2]
    assert means_by_group(z, groups, wanted=torch.tensor([3, 3, 7])).flatten().tolist() == [1, 1, 2]
    for missing in (5, 9):  # between those there are, and beyond them
        with pytest.raises(ValueError, match=rf"no reference prompt is in group \[{missing}\]"):
            means_by_group(z, groups, wanted=torch.tensor([3, missing]))


def test_means_are_kept_where_the_budget_has_room_for_them(monkeypatch):
    z, groups = torch.tensor([0.0, 2.0]).view(1, 2, 1, 1, 1), torch.tensor([0, 0])
    wanted, room = torch.tensor([0, 0, 0]), torch.empty(1, 3, 1, 1, 1)
    monkeypatch.setattr(
        "lib.instruments.ablation.room_for", lambda shape, like: (room.view(shape), lambda: said.append(room.tolist()))
    )
    said = []
    assert means_by_group(z, groups, wanted=wanted).data_ptr() == room.data_ptr()
    assert said == [room.tolist()]  # when it is filled
    assert room.flatten().tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("circuit", "message"),
    [
        ({Head(4, 0): "END"}, "there is no head 4.0: the model has layers 0-3 of heads 0-2"),
        ({Head(0, 3): "END"}, "there is no head 0.3: the model has layers 0-3 of heads 0-2"),
        ({Head(-1, 0): "END"}, "there is no head -1.0"),
        ({Head(0, 0): "S3"}, "given at 'S3', but the positions are"),
        ({Head(0, 0): "late"}, "position 'late' of prompt 0 is 12, outside the prompt, which ends at 11"),
        ({Head(0, 0): "early"}, "position 'early' of prompt 0 is -1, outside the prompt"),
        ({Head(0, 0): "S2", Head(1, 0): "again"}, "are the same token in prompt 0"),
    ],
)
def test_misuse_is_refused_with_the_reason(case, circuit, message):
    model, batch, clean, reference, _ = case
    positions = {
        **batch.positions,
        "late": batch.last + 1,
        "early": batch.positions["S2"] - 8,
        "again": batch.positions["S2"],
    }
    with pytest.raises(ValueError, match=message):
        run_circuits(model.weights, clean, [circuit], positions=positions, values=reference["z"], answers=batch.answers)


def test_values_of_another_shape_are_refused(case):
    model, batch, clean, reference, _ = case
    for measure in (run_circuits, knock_out):
        with pytest.raises(ValueError, match="values has shape"):
            measure(
                model.weights,
                clean,
                [dict.fromkeys(heads("0.1"), "END")],
                positions=batch.positions,
                values=reference["z"][:, :3],
                answers=batch.answers,
            )
