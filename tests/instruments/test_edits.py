"""Edits by hooks do what the same edits in plain tensors do, and a library that loses or moves them is noticed."""

import pytest
import torch

from benchmarks.pages.spoilt import SPOILT
from ioi_fixtures.controls.random_model import prompts
from ioi_fixtures.published import FOLDER
from lib.instruments.edits import EDITABLE, NOT_EDITABLE, flipped_by_hooks, flipped_in_plain_tensors, handed_back
from lib.instruments.identities import largest_gap
from lib.judging.references import read_references
from lib.judging.statistics import exact
from lib.models.activations import layers_of
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
