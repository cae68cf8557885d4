"""Activation patching: equal to one hooked pass a layer, position and head, whatever two prompts have in common."""

from dataclasses import replace

import pytest
import torch

from ioi_fixtures.controls import hook_loops
from ioi_fixtures.controls.random_model import one_thread, other_names, other_subject, prompts, random_model
from lib.instruments.patching import HEAD_SITES, STREAM_SITES, patch_heads, patch_stream
from lib.models.heads import Head
from tests.support.rounding import agree, of_logits

SHAPE = {"n_layer": 3, "n_head": 2, "n_embd": 16}


@pytest.fixture(scope="module", params=["S2 alone float64", "all names float64", "all names float32"])
def case(request):
    model = random_model(**SHAPE, dtype=request.param[-7:])
    batch = prompts(12)
    other = other_subject(batch) if request.param.startswith("S2") else other_names(batch)
    tolerance = of_logits(model.weights, positions=batch.tokens.shape[1])
    with one_thread():
        yield model, batch, batch.run(model), other.run(model), tolerance


def largest_difference(a, b):
    return float((a - b).abs().max())


@pytest.mark.parametrize("site", STREAM_SITES)
def test_streams_equal_one_hooked_pass_a_layer_and_position(case, site):
    model, batch, clean, corrupted, tolerance = case
    fast = patch_stream(model.weights, corrupted, clean, batch.answers, site=site)
    for layer in range(3):
        for column in range(fast.shape[1]):
            slow = hook_loops.patch_stream(model, corrupted, clean, batch.answers, site, layer, column)
            assert agree(fast[layer, column], slow, tolerance)


@pytest.mark.parametrize("site", HEAD_SITES)
def test_heads_equal_one_hooked_pass_each(case, site):
    model, batch, clean, corrupted, tolerance = case
    fast = patch_heads(model.weights, corrupted, clean, batch.answers, site=site)
    for layer in range(3):
        for head in range(2):
            slow = hook_loops.patch_head(model, corrupted, clean, batch.answers, site, Head(layer, head))
            assert agree(fast[layer, head], slow, tolerance)


@pytest.mark.parametrize("name", ["S2", "END"])
@pytest.mark.parametrize("site", HEAD_SITES)
def test_heads_at_one_position_equal_one_hooked_pass_each(case, site, name):
    model, batch, clean, corrupted, tolerance = case
    position = batch.positions[name]
    fast = patch_heads(model.weights, corrupted, clean, batch.answers, site=site, position=position)
    for head in (Head(0, 1), Head(1, 0), Head(2, 1)):
        slow = hook_loops.patch_head(model, corrupted, clean, batch.answers, site, head, position)
        assert agree(fast[head], slow, tolerance)


def test_near_misses_give_other_values(case):
    model, batch, clean, corrupted, _ = case
    s2, end = batch.positions["S2"], batch.positions["END"]
    streams = patch_stream(model.weights, corrupted, clean, batch.answers, site="resid_pre")
    next_column = hook_loops.patch_stream(model, corrupted, clean, batch.answers, "resid_pre", 1, 8)
    assert largest_difference(streams[1, 7], next_column) > 1e-2
    heads = patch_heads(model.weights, corrupted, clean, batch.answers, site="v", position=s2)
    for site, position in (("v", None), ("v", end), ("v", s2[:1].expand(12)), ("k", s2)):
        slow = hook_loops.patch_head(model, corrupted, clean, batch.answers, site, Head(1, 0), position)
        assert largest_difference(heads[1, 0], slow) > 1e-3, (site, position)
    opposite = hook_loops.patch_head(model, clean, corrupted, batch.answers, "v", Head(1, 0), s2)
    assert largest_difference(heads[1, 0], opposite) > 1e-2


def test_where_two_runs_agree_the_base_run_s_own_value_stands(case):
    model, batch, clean, corrupted, tolerance = case
    own = corrupted.logit_difference(batch.answers)
    streams = patch_stream(model.weights, corrupted, clean, batch.answers, site="resid_pre")
    first = batch.positions["IO"].minimum(batch.positions["S1"])
    for column in range(streams.shape[1]):
        before = column < first
        assert torch.equal(streams[:, column, before], own[before].expand(3, -1))
    same = patch_heads(model.weights, corrupted, corrupted, batch.answers, site="z")
    assert agree(same, own, tolerance)


def test_a_patch_of_everything_gives_the_source_run(case):
    """At layer 0, with every position that differs patched one after another, the last stream is the source's own."""
    model, batch, clean, corrupted, _ = case
    streams = patch_stream(model.weights, corrupted, clean, batch.answers, site="resid_pre")
    at_end = streams[2].gather(0, batch.last[None])[0]
    assert largest_difference(at_end, clean.logit_difference(batch.answers)) > 1e-3
    assert largest_difference(streams[0].gather(0, batch.last[None])[0], corrupted.logit_difference(batch.answers)) == 0


@pytest.mark.parametrize("site", ["z", "pattern"])
def test_runs_that_differ_at_the_first_position_in_the_last_head_alone_do_differ(case, site):
    model, batch, clean, _, tolerance = case
    changed = clean[site].clone()
    changed[(0, slice(None), 1, 0) if site == "pattern" else (0, slice(None), 0, 1)] += 1
    source = replace(clean, activations={**clean.activations, site: changed})
    fast = patch_heads(model.weights, clean, source, batch.answers, site=site)
    for head in (Head(0, 0), Head(0, 1)):
        slow = hook_loops.patch_head(model, clean, source, batch.answers, site, head)
        assert agree(fast[head], slow, tolerance)
    assert largest_difference(fast[0, 1], clean.logit_difference(batch.answers)) > 1e-3


def test_streams_that_agree_for_a_while_are_patched_where_they_differ_again(case):
    model, batch, clean, _, tolerance = case
    changed = clean["resid_pre"].clone()
    changed[1, :, [1, 2, 5]] += torch.linspace(-1, 1, 16)
    source = replace(clean, activations={**clean.activations, "resid_pre": changed})
    fast = patch_stream(model.weights, clean, source, batch.answers, site="resid_pre")
    for column in range(7):
        slow = hook_loops.patch_stream(model, clean, source, batch.answers, "resid_pre", 1, column)
        assert agree(fast[1, column], slow, tolerance)
    moved = (fast - clean.logit_difference(batch.answers)).abs().amax((0, 2)) > 1e-3
    assert moved.nonzero()[:, 0].tolist() == [1, 2, 5]


def test_a_small_budget_changes_nothing_but_the_batches(case):
    model, batch, clean, corrupted, tolerance = case
    for measure, site in ((patch_stream, "mlp_out"), (patch_heads, "k")):
        whole = measure(model.weights, corrupted, clean, batch.answers, site=site)
        split = measure(model.weights, corrupted, clean, batch.answers, site=site, budget=500_000)
        assert agree(whole, split, tolerance)


def test_misuse_is_refused_with_the_reason(case):
    model, batch, clean, corrupted, _ = case
    with pytest.raises(ValueError, match="site is 'z': it is one of resid_pre, attn_out, mlp_out"):
        patch_stream(model.weights, corrupted, clean, batch.answers, site="z")
    with pytest.raises(ValueError, match="site is 'resid_pre': it is one of z, q, k, v, pattern"):
        patch_heads(model.weights, corrupted, clean, batch.answers, site="resid_pre")
    with pytest.raises(ValueError, match="position 'position' of prompt 0 is 12, outside the prompt, which ends at 11"):
        patch_heads(model.weights, corrupted, clean, batch.answers, site="z", position=batch.last + 1)
    with pytest.raises(ValueError, match=r"'position' has shape \(3,\), but there are 12 prompts"):
        patch_heads(model.weights, corrupted, clean, batch.answers, site="z", position=batch.last[:3])
    shorter = model.run(batch.tokens, last=batch.last - 1, keep=["z"])
    with pytest.raises(ValueError, match="patch between prompts of the same lengths"):
        patch_heads(model.weights, corrupted, shorter, batch.answers, site="z")
