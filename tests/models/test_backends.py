"""Backends: the same model gives the same figures whatever runs it, and what cannot run it says so."""

import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from ioi_fixtures import planted
from ioi_fixtures.controls.random_families import save_random_of
from lib.instruments.edits import EDITABLE, flipped_by_hooks
from lib.instruments.identities import largest_gap
from lib.models import backends
from lib.models.backends import check_backend, default_backend
from lib.models.backends.plain import PlainBackend
from lib.models.model import SITES, CannotLoad, Edit, load
from tests.support.places import ROOT
from tests.support.rounding import agree, of_folding, of_logits, of_weights_in_float32

TOKENS = torch.tensor([[1, 2, 3, 4, 5, 6], [7, 8, 9, 0, 0, 0]])
LAST = torch.tensor([5, 2])


@pytest.fixture(scope="module")
def plain():
    return load(planted.directory(), name="planted", device="cpu", dtype="float64", backend="plain")


@pytest.fixture(scope="module")
def hooked():
    """The same by the library, in float64 too: what is left of rounding is that it folds weights in float32."""
    return load(planted.directory(), name="planted", device="cpu", dtype="float64")


@pytest.fixture(scope="module")
def same_weights(hooked):
    """The library's own weights, run without it: nothing but rounding in float64 is left."""
    return replace(hooked, backend=PlainBackend(hooked.weights))


@pytest.fixture(scope="module")
def runs(hooked, same_weights):
    return [model.run(TOKENS, last=LAST, keep=tuple(SITES)) for model in (hooked, same_weights)]


@pytest.fixture(scope="module")
def tolerance(hooked):
    return of_logits(hooked.weights, positions=TOKENS.shape[1])


def test_weights_folded_here_are_those_folded_by_the_library(plain, hooked):
    for name, tensor in hooked.weights.tensors().items():
        expected = plain.weights.tensors()[name]
        assert agree(tensor, expected, of_folding(name, expected, planted.directory())), name
    cfg, architecture = hooked.backend.library_model.cfg, plain.weights.architecture
    assert (cfg.eps, cfg.act_fn) == (architecture.norm_eps, architecture.activation)


def test_weights_folded_here_give_the_librarys_logits(plain, hooked, runs):
    logits = plain.run(TOKENS, last=LAST).logits
    assert agree(largest_gap(runs[0].logits, logits), 0.0, of_weights_in_float32(hooked.weights))


@pytest.mark.parametrize("site", SITES)
def test_every_site_holds_the_same_without_the_library(site, runs, tolerance):
    by_hooks, in_plain_tensors = (run[site] for run in runs)
    assert by_hooks.shape == in_plain_tensors.shape
    assert agree(by_hooks, in_plain_tensors, tolerance)
    assert agree(largest_gap(runs[0].logits, runs[1].logits), 0.0, tolerance)


@pytest.mark.parametrize("site", EDITABLE)
def test_an_edit_does_the_same_without_the_library(site, hooked, same_weights, runs, tolerance):
    by_hooks, in_plain_tensors = (flipped_by_hooks(model, runs[0], site) for model in (hooked, same_weights))
    assert largest_gap(runs[0].logits, in_plain_tensors).min() > 1e-3
    assert agree(largest_gap(by_hooks, in_plain_tensors), 0.0, tolerance)


def test_edits_without_the_library_leave_nothing_behind(plain):
    before, traces = plain.probe(), plain.traces()
    weights = {name: tensor.clone() for name, tensor in plain.weights.tensors().items()}
    plain.run(TOKENS, last=LAST, edits=[Edit(site, 0, lambda x: x.mul_(3)) for site in SITES])
    assert torch.equal(plain.probe(), before)
    assert plain.traces() == traces
    assert all(torch.equal(tensor, weights[name]) for name, tensor in plain.weights.tensors().items())
    plain.weights.W_O[9, 9].mul_(1.0)
    assert plain.traces() != traces


def test_the_plain_backend_runs_where_the_library_cannot_be_imported():
    script = (
        "import sys; sys.modules['transformer_lens'] = None\n"
        "import torch; from lib.models.model import load; from ioi_fixtures import planted\n"
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


def test_hooked_transformer_of_another_family_is_refused_before_it_is_loaded(tmp_path, monkeypatch):
    monkeypatch.setattr(backends, "version", lambda name: "3.5.1")
    save_random_of("llama", tmp_path)
    check_backend("bridge", tmp_path)
    with pytest.raises(CannotLoad, match="holds a 'llama' model, and HookedTransformer is built here of GPT-2s alone"):
        check_backend("hooked", tmp_path)


def test_an_unknown_backend_is_refused():
    with pytest.raises(CannotLoad, match="'numpy' is no backend: use one of bridge, hooked, plain"):
        check_backend("numpy")
