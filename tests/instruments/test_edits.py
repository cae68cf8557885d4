"""Edits by hooks do what the same edits in plain tensors do, and a library that loses or moves them is noticed."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from benchmarks.pages.spoilt import SPOILT
from ioi_fixtures.controls.random_families import random_of, save_random_of
from ioi_fixtures.controls.random_model import prompts
from ioi_fixtures.published import FOLDER
from lib.instruments.edits import (
    EDITABLE,
    NOT_EDITABLE,
    change_of_mlps_beside,
    editable,
    flipped_by_hooks,
    flipped_in_plain_tensors,
    handed_back,
    is_recomputed,
    reached_in_its_layer,
)
from lib.instruments.identities import largest_gap
from lib.judging.references import read_references
from lib.judging.statistics import exact
from lib.models.activations import Edit, layers_of
from lib.models.model import load
from tests.support.rounding import EQUAL

pytestmark = pytest.mark.usefixtures("on_one_thread")
PUBLISHED = read_references(FOLDER)
SITES_AND_LAYERS = 33  # of EDITABLE in three layers


def run_of(model, n):
    batch = prompts(n)
    return model.run(batch.tokens, last=batch.last)


@pytest.fixture(scope="module")
def run(small):
    return run_of(small, 6)


def acts(run, edited):
    return exact(largest_gap(run.logits, edited).min()) in PUBLISHED["instruments/edit-acts"]


def is_right(edited, plain):
    return exact(largest_gap(edited, plain).max()) in PUBLISHED["instruments/edit-is-right"]


class Faulty:
    """A model whose library makes other edits of each edit it is given: those that `change` says."""

    def __init__(self, model, change):
        self.weights, self.model, self.change = model.weights, model, change

    def run(self, tokens, *, edits, **rest):
        edits = edits(torch.arange(len(tokens))) if callable(edits) else edits
        made = [new for edit in edits for new in self.change(edit)]
        return self.model.run(tokens, edits=made, **rest)


@pytest.mark.parametrize("sites", [*((site,) for site in EDITABLE), EDITABLE], ids=lambda sites: " ".join(sites))
def test_an_edit_has_the_effect_it_has_in_plain_tensors_in_every_layer(sites, small, run):
    run = run if len(sites) == 1 else run_of(small, 2 * SITES_AND_LAYERS)
    hooked = flipped_by_hooks(small, run, *sites)
    assert acts(run, hooked)
    assert is_right(hooked, flipped_in_plain_tensors(small.weights, run, *sites))


@pytest.mark.parametrize("site", EDITABLE)
@pytest.mark.parametrize("layer", [0, 2])
def test_an_edit_that_is_ignored_in_one_layer_is_caught(site, layer, small, run):
    if layer not in layers_of(site, small.weights):
        layer = 0
    library = Faulty(small, lambda edit: [] if edit.layer == layer else [edit])
    hooked = flipped_by_hooks(library, run, site)
    assert not acts(run, hooked)
    assert not is_right(hooked, flipped_in_plain_tensors(small.weights, run, site))


@pytest.mark.parametrize(
    ("site", "elsewhere"),
    [("resid_pre", "resid_mid"), ("resid_post", "mlp_out"), ("z", "v"), ("pattern", "q"), ("final_scale", "attn_out")],
)
def test_an_edit_that_acts_elsewhere_is_caught(site, elsewhere, small, run):
    hooked = flipped_by_hooks(Faulty(small, lambda edit: [edit._replace(site=elsewhere)]), run, site)
    same = site == "z"  # z is linear in v, so flipping either is the same edit
    assert is_right(hooked, flipped_in_plain_tensors(small.weights, run, site)) == same


@pytest.mark.parametrize("site", EDITABLE)
def test_what_is_handed_back_unchanged_changes_nothing_unless_the_library_spoils_it(site, small, run):
    spoilt = Faulty(small, lambda edit: [edit._replace(change=torch.neg)])
    assert float(largest_gap(run.logits, handed_back(small, run, site)).max()) < EQUAL
    assert acts(run, handed_back(spoilt, run, site))


@pytest.mark.parametrize("site", NOT_EDITABLE)
def test_the_library_still_gets_these_edits_wrong(site, small, run):
    """If this fails, the library has been mended: make the site editable."""
    hooked = flipped_by_hooks(small, run, site)
    plain = flipped_in_plain_tensors(small.weights, run, site)
    assert largest_gap(hooked, plain).min() > 0.1


def test_edits_that_are_lost_late_in_a_batch_are_seen_in_a_batch_of_that_size(small, run, monkeypatch):
    """The probe of each site has as many prompts as there are layers, and misses what comes after."""
    SPOILT["late_edits_lost"].spoil(monkeypatch)
    many = run_of(small, 40)
    assert acts(run, flipped_by_hooks(small, run, EDITABLE[0]))
    change = largest_gap(many.logits, flipped_by_hooks(small, many, *EDITABLE))
    assert (change == 0).nonzero().flatten().tolist() == list(range(12, 40))


@pytest.mark.parametrize(
    ("family", "lacks", "recomputed"),
    [
        ("gpt2", set(), ()),
        ("gpt_neox", set(), ("final_scale",)),
        ("gptj", {"pattern"}, ()),
        ("llama", set(), ("final_scale",)),
    ],
)
def test_the_sites_compared_are_those_that_a_family_has_and_the_library_edits(family, lacks, recomputed, tmp_path):
    save_random_of(family, tmp_path)
    model = load(tmp_path, device="cpu", dtype="float32", backend="plain")
    assert editable(model) == tuple(site for site in EDITABLE if site not in lacks)
    assert tuple(site for site in EDITABLE if is_recomputed(model, site)) == recomputed


def flipped_in_one(model, run, prompt, site, keep, heads):
    """What is kept in a prompt's layer after one edit, of that prompt's heads there alone."""
    layer = prompt % model.weights.n_layers

    def change(activation):
        changed = activation.clone()
        changed[prompt, :, heads] *= -1
        return changed

    edited = model.run(run.tokens, last=run.last, keep=(keep,), edits=[Edit(site, layer, change)])
    return edited[keep][layer, prompt]


@pytest.mark.parametrize("n", [1, 6])
@pytest.mark.parametrize("site", ["k", "v"])
def test_whom_keys_and_values_reach_is_what_one_edit_each_shows(site, n):
    """Four heads of a layer, of which every two share theirs."""
    model, batch = random_of("llama"), prompts(n)
    run = model.run(batch.tokens, last=batch.last, keep=(site, "z"))
    readers, others = reached_in_its_layer(model, run, site)
    for prompt in range(n):
        layer = prompt % 4
        head = int(run[site][layer, prompt].norm(dim=-1).sum(0).argmax())
        z = run["z"][layer, prompt]
        moved = (flipped_in_one(model, run, prompt, site, "z", [head]) - z).abs().amax((0, 2)) / z.abs().max()
        own = [2 * head, 2 * head + 1]
        assert float((readers[prompt] - moved[own].min()).abs()) < EQUAL
        assert float(others[prompt]) == 0 < moved[own].min()


def test_a_head_that_reaches_those_of_others_is_seen():
    """A library that shows every head's output in all heads of its layer."""
    model, batch = random_of("llama"), prompts(6)

    def run_of(*arguments, **rest):
        run = model.run(*arguments, **rest)
        mixed = run["z"] + 0.01 * run["z"].mean(3, keepdim=True)
        return replace(run, activations={**run.activations, "z": mixed})

    run = run_of(batch.tokens, last=batch.last, keep=("v", "z"))
    readers, others = reached_in_its_layer(SimpleNamespace(weights=model.weights, run=run_of), run, "v")
    assert ((others > 0) & (others < readers)).all()


@pytest.mark.parametrize(("family", "beside"), [("gpt2", False), ("gpt_neox", True)])
def test_what_reaches_the_mlp_of_its_layer_is_what_one_edit_each_shows(family, beside):
    model, batch = random_of(family), prompts(6)
    run = model.run(batch.tokens, last=batch.last, keep=("mlp_out",))
    found = change_of_mlps_beside(model, run)
    for prompt in range(6):
        before = run["mlp_out"][prompt % 4, prompt]
        change = flipped_in_one(model, run, prompt, "z", "mlp_out", slice(None)) - before
        assert float((found[prompt] - change.abs().max() / before.abs().max()).abs()) < EQUAL
    assert bool((found < EQUAL).all()) == beside
