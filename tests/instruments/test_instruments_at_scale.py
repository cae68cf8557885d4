"""The fast instruments against hooked passes, on twelve layers of twelve heads: the reference model, of full width and
on its own prompts, and a model whose every weight is drawn."""

import pytest
import torch

from ioi_fixtures import planted
from ioi_fixtures.controls import hook_loops
from ioi_fixtures.controls.random_model import KEEP, one_thread, other_names, prompts, random_model
from ioi_fixtures.sentences.prompts import encode, make_prompts
from ioi_fixtures.sentences.variants import abc
from lib.instruments.ablation import knock_out, means_by_group, run_circuits
from lib.instruments.patching import patch_heads, patch_stream
from lib.instruments.path_patching import path_patch_to_heads, path_patch_to_logits
from lib.models.heads import Head, heads
from lib.models.model import load
from tests.support.rounding import agree, of_logits


@pytest.fixture(scope="module", params=["random, half width", "planted"])
def case(request):
    if request.param == "planted":
        model = load(planted.directory(), name="planted", device="cpu", dtype="float64")
        drawn = make_prompts(8, seed=0)
        batch, other = (encode(p, model.tokenizer, prepend_bos=False) for p in (drawn, abc(drawn, seed=0)))
    else:
        model = random_model(n_layer=12, n_head=12, n_embd=384, vocab_size=500)
        batch = prompts(4, vocab_size=500)
        other = other_names(batch)
    with one_thread():
        runs = [model.run(some.tokens, last=some.positions["END"], keep=KEEP) for some in (batch, other)]
        yield model, batch, *runs, of_logits(model.weights, positions=batch.tokens.shape[1])


def test_paths_to_the_logits(case):
    model, batch, clean, corrupted, tolerance = case
    table = path_patch_to_logits(model.weights, clean, corrupted, batch.answers)
    for head in heads("0.1 5.5 9.9 11.10"):
        assert agree(table[head], hook_loops.path_to_logits(model, clean, corrupted, batch.answers, [head]), tolerance)


@pytest.mark.parametrize(
    ("receivers", "inputs", "name", "senders"),
    [("9.9 9.6 10.0", "q", "END", "8.6 9.2"), ("7.3 8.6", "v", "S2", "3.0 7.1"), ("5.5 6.9", "k", "S1+1", "4.11 2.2")],
)
def test_paths_to_heads(case, receivers, inputs, name, senders):
    model, batch, clean, corrupted, tolerance = case
    position, sent = batch.positions[name], [[head] for head in heads(senders)]
    settings = {"receivers": heads(receivers), "inputs": inputs, "position": position}
    fast = path_patch_to_heads(model.weights, clean, corrupted, batch.answers, senders=sent, **settings)
    for measured, sender in zip(fast, sent, strict=True):
        slow = hook_loops.path_to_heads(
            model, clean, corrupted, batch.answers, sender, heads(receivers), inputs, position
        )
        assert agree(measured, slow, tolerance)


def test_circuits_and_knock_outs(case):
    model, batch, clean, corrupted, tolerance = case
    values = means_by_group(corrupted["z"], batch.template)
    circuit = {
        **dict.fromkeys(heads("9.9 9.6 10.7 7.9 8.6"), "END"),
        **dict.fromkeys(heads("5.5 6.9 3.0 0.1"), "S2"),
        **dict.fromkeys(heads("2.2 4.11"), "S1+1"),
    }
    settings = {"positions": batch.positions, "values": values, "answers": batch.answers}
    without = {head: where for head, where in circuit.items() if head != Head(5, 5)}
    for measure, slowly in ((run_circuits, hook_loops.run_circuit), (knock_out, hook_loops.knock_out)):
        for measured, some in zip(
            measure(model.weights, clean, [circuit, without], **settings), [circuit, without], strict=True
        ):
            assert agree(measured, slowly(model, clean, some, batch.positions, values, batch.answers), tolerance)


def test_patched_streams_and_heads(case):
    """On one prompt, and another with IO at S2: whole maps of more are slow at this size."""
    model, batch, *_, tolerance = case
    answers, last, s2, io = batch.answers[:1], *(batch.positions[name][:1] for name in ("END", "S2", "IO"))
    other = batch.tokens[:1].clone()
    other[0, s2] = other[0, io]
    clean, corrupted = (model.run(tokens, last=last, keep=KEEP) for tokens in (batch.tokens[:1], other))
    fast = patch_stream(model.weights, corrupted, clean, answers, site="attn_out")
    for layer, column in ((0, int(s2)), (5, int(s2) + 1), (11, int(last))):
        slow = hook_loops.patch_stream(model, corrupted, clean, answers, "attn_out", layer, column)
        assert agree(fast[layer, column], slow, tolerance)
    fast = patch_heads(model.weights, corrupted, clean, answers, site="k", position=s2)
    for head in heads("9.9 5.5 0.3"):
        assert agree(fast[head], hook_loops.patch_head(model, corrupted, clean, answers, "k", head, s2), tolerance)


def test_instruments_leave_weights_and_runs_as_they_found_them():
    model = random_model(n_layer=3, n_head=2, n_embd=16)
    batch = prompts(4)
    clean, corrupted = batch.run(model), other_names(batch).run(model)
    found = {**model.weights.tensors(), **clean.activations}
    before = {name: tensor.clone() for name, tensor in found.items()}
    ablation = {"positions": batch.positions, "values": corrupted["z"], "answers": batch.answers}
    run_circuits(model.weights, clean, [{Head(1, 1): "END"}], **ablation)
    knock_out(model.weights, clean, [{Head(0, 1): "S2"}], **ablation)
    for mlps in ("recomputed", "frozen"):
        path_patch_to_logits(model.weights, clean, corrupted, batch.answers, mlps=mlps)
    path = {"receivers": [Head(1, 1)], "inputs": "v", "position": batch.positions["S2"]}
    path_patch_to_heads(model.weights, clean, corrupted, batch.answers, **path)
    patch_stream(model.weights, clean, corrupted, batch.answers, site="resid_pre")
    patch_heads(model.weights, clean, corrupted, batch.answers, site="pattern")
    assert all(torch.equal(found[name], before[name]) for name in found)
