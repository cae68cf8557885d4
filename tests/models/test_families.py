"""Every family of decoders: the same logits, sites and effects by every route, and by module hooks on transformers."""

import json

import pytest
import torch

from ioi_fixtures.controls import module_hooks
from ioi_fixtures.controls.random_families import FAMILIES, save_random_of
from ioi_fixtures.controls.random_model import other_names, prompts
from lib.instruments.ablation import knock_out, run_circuits
from lib.instruments.identities import PARTS, attribution_gap, largest_gap
from lib.instruments.patching import patch_heads, patch_stream
from lib.instruments.path_patching import path_patch_to_heads, path_patch_to_logits
from lib.models.activations import sites_of
from lib.models.backends.hooks import HookedBackend
from lib.models.heads import Head
from lib.models.model import CannotLoad, load, locate
from tests.support.rounding import EQUAL


class Case:
    """A random model by the plain route and by plain transformers, and prompts for both."""

    def __init__(self, directory):
        self.directory = directory
        self.model = load(directory, device="cpu", dtype="float64", backend="plain")
        self.plain = module_hooks.PlainModel(directory)
        self.batch = prompts(6)
        self.other = other_names(self.batch)
        keep = sites_of(self.model.weights.architecture)
        self.base, self.source = (
            self.model.run(one.tokens, last=one.last, keep=keep) for one in (self.batch, self.other)
        )
        self.tokens = self.batch.tokens, self.other.tokens, self.batch.last, self.batch.answers
        self.activations = self.plain.activations(self.other.tokens)

    def patched(self, site, layer, where):
        """Logit differences with the source's activations `where`, told each element's place, says so. [batch]"""
        source = self.activations[site, layer]
        features = source.shape[-2:] if site in "qkvz" else source.shape[-1:]
        sizes = (*self.batch.tokens.shape, *features)  # a module may see all tokens in one row, as OPT's MLPs do
        there = where(torch.meshgrid(*map(torch.arange, sizes), indexing="ij")).view_as(source)
        changes = {(site, layer): lambda activation: torch.where(there, source, activation)}
        picked = self.plain.logits(self.batch.tokens, self.batch.last, changes).gather(1, self.batch.answers)
        return picked[:, 0] - picked[:, 1]


@pytest.fixture(scope="module", params=FAMILIES)
def case(request, tmp_path_factory):
    directory = tmp_path_factory.mktemp("random")
    save_random_of(request.param, directory)
    return Case(directory)


def same(found, expected):
    assert float((found - expected).abs().max()) < EQUAL


def test_the_logits_are_those_of_transformers(case):
    expected = case.plain.logits(case.batch.tokens, case.batch.last, {})
    assert float(largest_gap(case.base.logits, expected).max()) < EQUAL
    assert expected.std() > 0.1


def test_the_parts_of_a_run_fit_together(case):
    for part in PARTS.values():
        assert float(part(case.base, case.model.weights).max()) < EQUAL
    assert float(attribution_gap(case.base, case.model.weights, case.batch.answers).max()) < EQUAL


def test_paths_to_the_logits(case):
    found = path_patch_to_logits(case.model.weights, case.base, case.source, case.batch.answers)
    frozen = path_patch_to_logits(case.model.weights, case.base, case.source, case.batch.answers, mlps="frozen")
    for head in (Head(0, 1), Head(1, 3), Head(2, 0), Head(3, 2)):
        plain = case.plain.path_patch(*case.tokens, [head], position=case.batch.last)
        same(found[head], plain)
        same(frozen[head], case.plain.path_patch(*case.tokens, [head], position=case.batch.last, freeze_mlps=True))
        assert (plain - case.base.logit_difference(case.batch.answers)).abs().max() > 1e-3  # not rounding


@pytest.mark.parametrize("inputs", ["q", "k", "v"])
@pytest.mark.parametrize("name", ["END", "S2", "S1+1"])
def test_paths_to_heads(inputs, name, case):
    shared = case.model.weights.architecture.n_kv_heads if inputs in "kv" else 4
    receivers = [Head(2, 0), Head(3, shared - 1)]
    position = case.batch.positions[name]
    senders = [[Head(0, 0)], [Head(1, 3)], [Head(0, 2), Head(2, 1)], [Head(3, 3)]]
    found = path_patch_to_heads(
        case.model.weights,
        case.base,
        case.source,
        case.batch.answers,
        receivers=receivers,
        inputs=inputs,
        position=position,
        senders=senders,
    )
    for value, sent in zip(found, senders, strict=True):
        plain = case.plain.path_patch(*case.tokens, sent, position=position, receivers=receivers, inputs=inputs)
        same(value, plain)


@pytest.mark.parametrize("site", ["q", "k", "v", "z"])
def test_patched_heads(site, case):
    """A key/value head and its group are patched together; what a head writes passes a norm after attention."""
    weights, answers = case.model.weights, case.batch.answers
    at_end = case.batch.last
    found = patch_heads(weights, case.base, case.source, answers, site=site)
    of_end = patch_heads(weights, case.base, case.source, answers, site=site, position=at_end)
    last_head = found.shape[1] - 1
    for head in (Head(0, 0), Head(1, last_head), Head(2, 0), Head(3, last_head)):
        everywhere = case.patched(site, head.layer, lambda place, head=head: place[2] == head.index)
        there = case.patched(
            site, head.layer, lambda place, head=head: (place[2] == head.index) & (place[1] == at_end[place[0]])
        )
        same(found[head], everywhere)
        same(of_end[head], there)
    assert (everywhere - case.base.logit_difference(answers)).abs().max() > 1e-4  # not rounding


def test_patched_mlps(case):
    found = patch_stream(case.model.weights, case.base, case.source, case.batch.answers, site="mlp_out")
    for layer, column in ((0, 3), (1, 7), (3, int(case.batch.last.min()))):
        same(found[layer, column], case.patched("mlp_out", layer, lambda place, column=column: place[1] == column))


CIRCUITS = [
    {Head(0, 1): "S2", Head(2, 3): "END", Head(3, 0): "END", Head(1, 2): ("S1+1", "S2")},
    {Head(0, 0): "IO", Head(1, 1): "S1", Head(3, 3): "END"},
    {},
]


def test_circuits_alone_and_heads_knocked_out(case):
    positions = case.batch.positions
    keywords = {"positions": positions, "values": case.source["z"], "answers": case.batch.answers}
    alone = run_circuits(case.model.weights, case.base, CIRCUITS, **keywords)
    without = knock_out(case.model.weights, case.base, CIRCUITS, **keywords)
    for i, circuit in enumerate(CIRCUITS):
        names = {head: (at,) if isinstance(at, str) else at for head, at in circuit.items()}
        where = {head: [positions[name] for name in at] for head, at in names.items()}
        same(alone[i], case.plain.replace(*case.tokens, kept=where))
        same(without[i], case.plain.replace(*case.tokens, replaced=where))


def test_a_family_that_is_not_known_is_refused_by_name(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "mamba"}))
    with pytest.raises(CannotLoad, match="'mamba'.*gpt2.*llama"):
        locate(tmp_path)


def test_a_way_of_turning_that_is_not_computed_is_refused_by_name(tmp_path):
    save_random_of("llama", tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["rope_parameters"] = {"rope_type": "yarn", "rope_theta": 500.0, "factor": 4.0}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CannotLoad, match="'yarn'"):
        locate(tmp_path)


def test_site_names(case):
    assert ("resid_mid" in case.base.activations) == (not case.model.weights.architecture.parallel)
    if case.model.weights.architecture.parallel:
        with pytest.raises(ValueError, match="does not exist here"):
            case.model.run(torch.tensor([[1, 2]]), last=torch.tensor([1]), keep=("resid_mid",))


def test_what_the_library_cannot_load_is_said_of_the_library(tmp_path):
    save_random_of("phi", tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "num_key_value_heads": 2}))
    with pytest.raises(CannotLoad, match="transformer-lens .* cannot load .*: use --claims-backend plain"):
        HookedBackend("bridge", tmp_path, device=torch.device("cpu"), dtype=torch.float32)
