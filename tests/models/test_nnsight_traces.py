"""nnsight: every family's logits, sites and edits are those of plain tensors, and what was left behind is named."""

from contextlib import nullcontext

import pytest
import torch

from ioi_fixtures.controls.module_hooks import exactly
from ioi_fixtures.controls.random_families import FAMILIES, save_random_of
from ioi_fixtures.controls.random_model import prompts
from lib.instruments.edits import flipped_by_hooks, flipped_in_plain_tensors, patched_into_itself
from lib.instruments.identities import largest_gap, run_padded_on_the_left
from lib.instruments.witness import site_gap
from lib.models import backends
from lib.models.activations import Edit, sites_of
from lib.models.model import CannotLoad, load
from lib.models.traces import changed_since, state_of
from tests.support.rounding import EQUAL

FLOAT32 = 1e-4  # of logits about one in size, and of activations as a share of the largest
TOKENS, LAST = torch.tensor([[1, 2, 3, 4], [5, 6, 7, 0]]), torch.tensor([3, 2])


class Case:
    """A random model by nnsight and in plain tensors."""

    def __init__(self, directory, dtype):
        self.plain, self.traced = (
            load(directory, device="cpu", dtype=dtype, backend=backend) for backend in ("plain", "nnsight")
        )
        self.tolerance = EQUAL if dtype == "float64" else FLOAT32
        self.sites = sites_of(self.plain.weights.architecture)
        self.expected = self.run(self.plain)
        with self.as_precise():
            self.found = self.run(self.traced)

    def run(self, model):
        batch = prompts(12)  # more than one a layer
        return model.run(batch.tokens, last=batch.last, keep=self.sites)

    def as_precise(self):
        """While it lasts, transformers computes all in float64 where the model is: equal can be told from nearly so."""
        return exactly() if self.traced.dtype == torch.float64 else nullcontext()


@pytest.fixture(scope="module", params=FAMILIES)
def directory(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("random")
    save_random_of(request.param, folder)
    return folder


@pytest.fixture(scope="module", params=["float64", "float32"])
def case(request, directory):
    return Case(directory, request.param)


def test_logits_and_every_site_are_those_of_plain_tensors(case):
    assert float(largest_gap(case.found.logits, case.expected.logits).max()) < case.tolerance
    for site in case.sites:
        assert case.found[site].shape == case.expected[site].shape
        assert float(site_gap(case.found, case.expected, site).max()) < case.tolerance, site


def test_an_edit_of_every_site_does_what_it_does_in_plain_tensors(case):
    for site in case.sites:
        expected = flipped_in_plain_tensors(case.plain.weights, case.expected, site)
        with case.as_precise():
            found = flipped_by_hooks(case.traced, case.found, site)
        assert float(largest_gap(found, expected).max()) < case.tolerance, site
        assert float(largest_gap(found, case.found.logits).min()) > 1e-3, site


def test_a_run_patched_into_itself_is_the_same_bit_for_bit(case):
    for site in case.sites:
        with case.as_precise():
            assert torch.equal(patched_into_itself(case.traced, case.found, site), case.found.logits), site


def test_positions_are_counted_from_the_first_real_token(case):
    with case.as_precise():
        left = run_padded_on_the_left(case.traced, case.found)
    assert float(largest_gap(left, case.found.logits).max()) < case.tolerance


@pytest.fixture
def traced(tmp_path):
    save_random_of("llama", tmp_path)
    return load(tmp_path, name="random", device="cpu", backend="nnsight")


def test_edits_at_one_place_follow_one_another_and_what_is_kept_is_what_they_made(traced):
    before = traced.run(TOKENS, last=LAST, keep=("q", "z"))
    edits = [Edit("z", 1, lambda z: z.mul_(2.0)), Edit("z", 1, lambda z: z + 1)]
    after = traced.run(TOKENS, last=LAST, keep=("q", "z"), edits=edits)
    assert torch.equal(after["z"][1], 2 * before["z"][1] + 1)
    assert torch.equal(after["q"][:2], before["q"][:2])
    assert not torch.equal(after["q"][2], before["q"][2])


def test_nothing_is_left_behind_and_what_is_is_named(traced):
    before = state_of(traced)
    traced.run(TOKENS, last=LAST, keep=("pattern", "z"), edits=[Edit("pattern", 0, lambda x: x / 2)])
    assert changed_since(traced, before, ask=True) == ""
    library_model = traced.backend.library_model

    hook = library_model.model.layers[1].mlp._module.register_forward_hook(lambda module, given, output: output)
    assert "(hooks at model.layers.1.mlp)" in changed_since(traced, before, ask=False)
    hook.remove()
    with library_model.edit(inplace=True):
        library_model.model.layers[0].mlp.output[:] = 0
    assert "edits that nnsight makes in every trace" in changed_since(traced, before, ask=False)
    library_model.clear_edits()
    assert changed_since(traced, before, ask=True) == ""

    module = library_model.model.layers[2].mlp._module
    own = module.forward
    module.forward = lambda x: own(x)
    assert "modules with another forward '' -> 'model.layers.2.mlp'" in changed_since(traced, before, ask=False)
    module.forward = own
    module.down_proj.weight.mul_(1.0)
    assert "(writes to model.layers.2.mlp.down_proj.weight)" in changed_since(traced, before, ask=False)


def test_an_edit_that_raises_leaves_nothing_behind(traced):
    before = state_of(traced)
    with pytest.raises(ZeroDivisionError):
        traced.run(TOKENS, last=LAST, edits=[Edit("z", 1, lambda z: 1 // 0)])
    assert changed_since(traced, before, ask=True) == ""


def test_dropout_that_is_left_on_is_named(traced):
    before = state_of(traced)
    traced.backend._module.train()
    assert "modules in training mode 0 -> " in changed_since(traced, before, ask=False)


def test_a_place_that_nnsight_cannot_find_is_named(traced, monkeypatch):
    monkeypatch.setattr("lib.models.backends.nnsight_traces.EAGER", ("gone_0",))
    with pytest.raises(RuntimeError, match=r"finds none of gone_0 .* so that 'pattern' cannot be read: use .* plain"):
        traced.run(TOKENS, last=LAST, keep=("pattern",))


def test_without_nnsight_it_is_refused_before_anything_is_loaded(monkeypatch, tmp_path):
    monkeypatch.setattr(backends, "find_spec", lambda name: None)
    with pytest.raises(CannotLoad, match=r"nnsight is not installed: pip install .* \(our extra \[nnsight\]\)"):
        backends.check_backend("nnsight", tmp_path)
