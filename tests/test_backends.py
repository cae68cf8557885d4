"""Backends: the same model gives the same figures whatever runs it, and what cannot run it says so."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ioi_fixtures import planted
from lib import backends
from lib.backends import check_backend, default_backend
from lib.instruments.identities import EDITABLE, flipped_by_hooks, largest_gap
from lib.model import SITES, CannotLoad, Edit, load

ROOT = Path(__file__).parents[1]
TOKENS = torch.tensor([[1, 2, 3, 4, 5, 6], [7, 8, 9, 0, 0, 0]])
LAST = torch.tensor([5, 2])


@pytest.fixture(scope="module")
def plain():
    return load(planted.directory(), name="planted", device="cpu", dtype="float64", backend="plain")


@pytest.fixture(scope="module")
def plain_run(plain):
    return plain.run(TOKENS, last=LAST, keep=tuple(SITES))


def test_weights_folded_here_are_those_folded_by_the_library(plain, planted_model):
    for name, tensor in planted_model.weights.tensors().items():
        assert (tensor - plain.weights.tensors()[name]).abs().max() < 2e-6, name
    assert plain.weights.activation == planted_model.weights.activation
    assert plain.weights.layer_norm_eps == planted_model.weights.layer_norm_eps


@pytest.mark.parametrize("site", SITES)
def test_every_site_holds_the_same_without_the_library(site, plain_run, planted_model):
    hooked = planted_model.run(TOKENS, last=LAST, keep=[site])
    assert hooked[site].shape == plain_run[site].shape
    assert (hooked[site] - plain_run[site]).abs().max() < 1e-5 * plain_run[site].abs().max()
    assert largest_gap(hooked.logits.double(), plain_run.logits).max() < 1e-4


@pytest.mark.parametrize("site", EDITABLE)
def test_an_edit_does_the_same_without_the_library(site, plain, plain_run, planted_model):
    by_hooks = flipped_by_hooks(planted_model, plain_run, site)
    in_plain_tensors = flipped_by_hooks(plain, plain_run, site)
    assert largest_gap(plain_run.logits, in_plain_tensors).min() > 1e-3
    assert largest_gap(by_hooks.double(), in_plain_tensors).max() < 1e-3


def test_edits_without_the_library_leave_nothing_behind(plain):
    before, traces = plain.fingerprint(), plain.traces()
    weights = {name: tensor.clone() for name, tensor in plain.weights.tensors().items()}
    plain.run(TOKENS, last=LAST, edits=[Edit(site, 0, lambda x: x.mul_(3)) for site in SITES])
    assert plain.fingerprint() == before
    assert plain.traces() == traces
    assert all(torch.equal(tensor, weights[name]) for name, tensor in plain.weights.tensors().items())
    plain.weights.W_O[9, 9].mul_(1.0)
    assert plain.traces() != traces


def test_the_plain_backend_runs_where_the_library_cannot_be_imported():
    script = (
        "import sys; sys.modules['transformer_lens'] = None\n"
        "import torch; from lib.model import load; from ioi_fixtures import planted\n"
        "model = load(planted.directory(), device='cpu', backend='plain')\n"
        "print(tuple(model.run(torch.tensor([[1, 2]]), last=torch.tensor([1])).logits.shape))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.startswith("(1, "), done.stderr


@pytest.mark.parametrize(
    ("installed", "missing", "says", "default"),
    [
        ("2.18.0", "bridge", "2.18.0 has no TransformerBridge.*--claims-backend hooked or plain", "hooked"),
        ("4.3.0", "hooked", "4.3.0 has no HookedTransformer.*'transformer-lens<4'.*--claims-backend bridge", "bridge"),
    ],
)
def test_a_class_that_the_installed_version_lacks_is_refused(installed, missing, says, default, monkeypatch):
    monkeypatch.setattr(backends, "version", lambda name: installed)
    assert default_backend() == default
    check_backend(default)
    check_backend("plain")
    with pytest.raises(CannotLoad, match=says):
        check_backend(missing)


def test_version_3_has_both_classes(monkeypatch):
    monkeypatch.setattr(backends, "version", lambda name: "3.5.1")
    assert default_backend() == "bridge"
    check_backend("bridge")
    check_backend("hooked")


def test_an_unknown_backend_is_refused():
    with pytest.raises(CannotLoad, match="'numpy' is no backend: use one of bridge, hooked, plain"):
        check_backend("numpy")
