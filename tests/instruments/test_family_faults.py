"""What a hooking library might report wrongly of a family while its logits stay right, and the claim that sees it."""

from dataclasses import replace

import pytest
import torch

from ioi_fixtures.controls.faults import edits_become
from ioi_fixtures.controls.random_families import random_of
from ioi_fixtures.controls.random_model import prompts
from lib.instruments.edits import change_of_mlps_beside, reached_in_its_layer
from lib.instruments.identities import PARTS, attribution_gap
from lib.models import forward
from lib.models.activations import sites_of
from tests.support.other_architecture import other_architecture
from tests.support.rounding import EQUAL

ENOUGH = 1e-4  # not rounding: the widest band of the claims that are named here
ADDS = "the stream after attention is the stream before it plus attn_out"
HEADS = "attn_out is the sum of the heads' z W_O plus b_O"
READ = "q, k and v are read from the normalised stream entering the layer"
PATTERN = "the pattern is the causal softmax of q k"
MOVES = "z is the values weighted by the pattern"


def run_of(name):
    model, batch = random_of(name), prompts(6)
    return model, batch, model.run(batch.tokens, last=batch.last, keep=sites_of(model.weights.architecture))


def by_layer(run, weights, change):
    """q of each layer as `change` makes it."""
    blocks, positions = forward.blocks(weights), torch.arange(run.tokens.shape[1])
    return torch.stack([change(q, block, positions) for q, block in zip(run["q"], blocks, strict=True)])


def wrong_group(run, weights):
    return {"v": run["v"].flip(-2)}


def turned_twice(run, weights):
    def turned(q, block, positions):
        return weights.architecture.rotary.turned(q, positions, block.layer)

    return {"q": by_layer(run, weights, turned)}


def after_its_norm(run, weights):
    return {"q": by_layer(run, weights, lambda q, block, positions: forward.normalize(q, weights) * block.q_norm)}


def before_the_post_norm(run, weights):
    written = [forward.written_by_heads(z, block) for z, block in zip(run["z"], forward.blocks(weights), strict=True)]
    return {"attn_out": torch.stack(written)}


def without_its_window(run, weights):
    everywhere = other_architecture(weights, windows=())
    layers = zip(run["q"], run["k"], forward.blocks(weights), strict=True)
    return {"pattern": torch.stack([forward.attention_pattern(q, k, block, everywhere) for q, k, block in layers])}


def without_its_cap(run, weights):
    uncapped = other_architecture(weights, attention_cap=None)
    layers = zip(run["q"], run["k"], forward.blocks(weights), strict=True)
    return {"pattern": torch.stack([forward.attention_pattern(q, k, block, uncapped) for q, k, block in layers])}


FAULTS = {
    "llama: values of the other group": ("llama", wrong_group, MOVES),
    "llama: queries that are turned already": ("llama", turned_twice, PATTERN),
    "gpt_neox: queries that are turned already": ("gpt_neox", turned_twice, READ),
    "qwen3: queries after their norm": ("qwen3", after_its_norm, READ),
    "gemma2: attention before its post-norm": ("gemma2", before_the_post_norm, ADDS),
    "gemma3: attention before its post-norm": ("gemma3", before_the_post_norm, HEADS),
    "gemma2: attention without its cap": ("gemma2", without_its_cap, PATTERN),
    "mistral: attention without its window": ("mistral", without_its_window, PATTERN),
    "qwen2: attention without its window": ("qwen2", without_its_window, PATTERN),
    "gpt_neo: attention without its window": ("gpt_neo", without_its_window, PATTERN),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_what_is_reported_is_seen_by_the_claim_that_names_it(fault):
    name, changed, claim = FAULTS[fault]
    model, _, run = run_of(name)
    assert float(PARTS[claim](run, model.weights).max()) < EQUAL
    wrong = replace(run, activations={**run.activations, **changed(run, model.weights)})
    assert torch.equal(wrong.logits, run.logits)
    assert float(PARTS[claim](wrong, model.weights).max()) > ENOUGH


@pytest.mark.parametrize("change", [{"final_cap": None}, {"final_cap": 30.0}])
def test_attributions_that_leave_out_the_cap_do_not_add_up(change):
    model, batch, run = run_of("gemma2")
    assert float(attribution_gap(run, model.weights, batch.answers).max()) < EQUAL
    assert float(attribution_gap(run, other_architecture(model.weights, **change), batch.answers).max()) > ENOUGH


def test_attributions_that_leave_out_the_post_norm_do_not_add_up():
    model, batch, run = run_of("gemma3")
    assert float(attribution_gap(run, model.weights, batch.answers).max()) < EQUAL
    without = replace(model.weights, post_attention=None)
    assert float(attribution_gap(run, without, batch.answers).max()) > ENOUGH


@pytest.mark.parametrize(("name", "stands"), [("gpt_neox", "beside"), ("gpt_neox, sequential", "after")])
def test_a_head_has_no_path_to_the_mlp_beside_it(name, stands):
    model, _, run = run_of(name)
    change = change_of_mlps_beside(model, run)
    assert (change.max() < EQUAL) if stands == "beside" else (change.min() > ENOUGH)


@pytest.mark.parametrize("site", ["k", "v"])
def test_an_edit_that_reaches_the_heads_of_another_group_is_seen(site, monkeypatch):
    model, batch = random_of("llama", dtype="float32", backend="bridge"), prompts(6)
    run = model.run(batch.tokens, last=batch.last, keep=(site, "z"))
    own, others = reached_in_its_layer(model, run, site)
    assert own.min() > ENOUGH
    assert others.max() == 0
    edits_become("", lambda x, new: torch.where((new != x).roll(1, -2), -x, x))(monkeypatch, lambda: None)
    own, others = reached_in_its_layer(model, run, site)
    assert own.max() == 0
    assert others.min() > ENOUGH
