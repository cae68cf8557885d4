"""The witness agrees with a sound model, and what is wrong with an unsound one is named: a tensor, a site, a figure."""

from dataclasses import replace

import pytest
import torch

from ioi_fixtures.circuits.circuit import CIRCUIT_HEADS
from ioi_fixtures.controls import hook_loops
from ioi_fixtures.controls.random_model import one_thread, other_names, prompts, random_model, save_random
from ioi_fixtures.published import FOLDER
from lib.instruments.witness import FIGURES, figure_gap, removal_effects, site_gap, weight_gaps
from lib.judging.references import read_references
from lib.judging.statistics import exact
from lib.models.activations import Run
from lib.models.heads import heads
from lib.models.model import SITES, Edit, load
from tests.support.rounding import EQUAL, agree

PUBLISHED = read_references(FOLDER)
BATCH = prompts(2)
OTHER = other_names(BATCH)


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    directory = tmp_path_factory.mktemp("random")
    save_random(directory, n_layer=4, n_head=2, n_embd=24)
    return directory


@pytest.fixture(scope="module")
def small(directory):
    with one_thread():
        yield load(directory, name="random", device="cpu")


@pytest.fixture(scope="module")
def witness(directory):
    return load(directory, name="witness", device="cpu", dtype="float64", backend="plain")


def runs_of(model, edits=()):
    return [model.run(batch.tokens, last=batch.last, keep=tuple(SITES), edits=edits) for batch in (BATCH, OTHER)]


@pytest.fixture(scope="module")
def runs(small):
    return runs_of(small)


@pytest.fixture(scope="module")
def witness_runs(witness):
    return runs_of(witness)


def wrong_weights(model, witness):
    gaps = weight_gaps(model.weights if hasattr(model, "weights") else model, witness.weights)
    return {name for name, gap in gaps.items() if exact(gap) not in PUBLISHED["instruments/witness-weights"]}


def wrong_sites(runs, witness_runs):
    claim = PUBLISHED["instruments/witness-site"]
    return {site for site in SITES if exact(site_gap(runs[0], witness_runs[0], site).max()) not in claim}


def wrong_figures(weights, runs, witness, witness_runs):
    claim = PUBLISHED["instruments/witness-figure"]
    return {
        name
        for name, figure in FIGURES.items()
        if exact(
            figure_gap(
                figure(weights, *runs, BATCH.answers), figure(witness.weights, *witness_runs, BATCH.answers)
            ).max()
        )
        not in claim
    }


def test_a_sound_model_agrees_in_everything(small, runs, witness, witness_runs):
    assert wrong_weights(small, witness) == set()
    assert wrong_sites(runs, witness_runs) == set()
    assert wrong_figures(small.weights, runs, witness, witness_runs) == set()


@pytest.mark.parametrize("name", ["W_E", "W_Q", "W_O", "W_in", "W_U", "b_Q", "b_O", "b_in"])
def test_a_wrong_weight_is_named(name, small, witness):
    tensor = small.weights.tensors()[name]
    assert wrong_weights(replace(small.weights, **{name: tensor * 1.01}), witness) == {name}


def test_comparing_weights_changes_none(witness):
    weights = witness.weights
    before = {name: tensor.clone() for name, tensor in weights.tensors().items()}
    assert weights.W_E.dtype == torch.float64
    assert max(weight_gaps(weights, replace(weights, W_E=weights.W_E + 1)).values()) > 0.1
    assert all(torch.equal(tensor, before[name]) for name, tensor in weights.tensors().items())


@pytest.mark.parametrize("site", SITES)
def test_a_site_that_is_reported_wrong_is_named(site, runs, witness_runs):
    spoilt = runs[0][site].clone()
    spoilt[..., 0] += 0.01 * spoilt.abs().max()
    wrong = replace(runs[0], activations={**runs[0].activations, site: spoilt})
    assert wrong_sites([wrong, runs[1]], witness_runs) == {site}


def test_the_first_site_that_differs_is_where_the_fault_is(small, witness_runs):
    wrong = wrong_sites(runs_of(small, [Edit("z", 3, lambda z: z * 1.1)]), witness_runs)
    assert wrong >= {"z", "attn_out", "resid_mid", "mlp_out", "resid_post", "resid_final"}
    assert not wrong & {"resid_pre", "q", "k", "v", "pattern"}


def test_figures_that_read_what_is_wrong_are_named(small, runs, witness, witness_runs):
    spoilt = [replace(run, activations={**run.activations, "z": run["z"] * 1.01}) for run in runs]
    wrong = wrong_figures(small.weights, spoilt, witness, witness_runs)
    assert wrong == {"direct logit attribution", "activation patching of z", "path patching to the logits"}


def test_a_number_type_too_coarse_for_the_claims_is_caught(directory, witness, witness_runs):
    coarse = load(directory, name="coarse", device="cpu", dtype="bfloat16")
    coarse_runs = runs_of(coarse)
    assert wrong_weights(coarse, witness) >= {"W_Q", "W_U"}
    assert wrong_sites(coarse_runs, witness_runs) >= set(SITES) - {"final_scale"}
    assert wrong_figures(coarse.weights, coarse_runs, witness, witness_runs) == set(FIGURES)


def test_removing_a_head_does_what_it_does_in_a_hook_loop():
    model = random_model(n_layer=3, n_head=2, n_embd=16)
    clean, other = runs_of(model)
    circuit = dict.fromkeys(heads("0.1 1.0 2.1"), "END") | dict.fromkeys(heads("0.0"), "S2")
    found = removal_effects(model.weights, clean, other, BATCH.answers, circuit=circuit, positions=BATCH.positions)

    def loop(kept):
        return hook_loops.run_circuit(model, clean, kept, BATCH.positions, other["z"], BATCH.answers)

    size = clean.logit_difference(BATCH.answers).abs().mean()
    for effect, removed in zip(found, circuit, strict=True):
        less = {head: at for head, at in circuit.items() if head != removed}
        assert agree(effect, (loop(less) - loop(circuit)) / size, EQUAL)
    assert float(found.abs().min()) > 1e-3


@pytest.mark.parametrize(("dtype", "fine"), [("float64", True), ("float32", True), ("bfloat16", False)])
def test_a_number_type_is_fine_where_it_hardly_moves_what_a_head_does(dtype, fine, planted_model):
    def effects(dtype):
        model = load(planted_model.directory, device="cpu", dtype=dtype, backend="plain")
        at = {"circuit": CIRCUIT_HEADS, "positions": BATCH.positions}
        return removal_effects(model.weights, *runs_of(model), BATCH.answers, **at)

    gap = exact(figure_gap(effects(dtype), effects("float64")).max())
    assert (gap in PUBLISHED["instruments/number-type"]) == fine
    assert (gap in PUBLISHED["instruments/coarse-number-type"]) != fine


def test_the_gaps_are_those_of_their_definitions(small):
    weights = small.weights
    other = replace(weights, W_U=weights.W_U.clone(), b_U=weights.b_U - 3)
    other.W_U[2, 5] += weights.W_U.abs().max()
    gaps = weight_gaps(weights, other)
    assert gaps["W_U"] == pytest.approx(float(weights.W_U.abs().max() / other.W_U.abs().max()))
    assert gaps["b_U"] == pytest.approx(3)
    assert gaps["W_E"] == 0
    # layer batch pos d: in prompt 0 a quarter in layer 0 and a tenth in layer 1, in prompt 1 nothing and a half.
    known = torch.tensor([[[[4.0, 2.0]], [[1.0, 0.0]]], [[[10.0, 0.0]], [[-8.0, 4.0]]]])
    mine = known - torch.tensor([[[[0.0, 1.0]], [[0.0, 0.0]]], [[[0.0, -1.0]], [[0.0, 4.0]]]])
    activations = ({"resid_pre": some, "resid_final": some[1]} for some in (mine, known))
    runs = [Run(BATCH.tokens, BATCH.last, torch.zeros(2, 97), kept) for kept in activations]
    assert site_gap(*runs, "resid_pre").tolist() == [0.25, 0.5]
    assert site_gap(*runs, "resid_final").tolist() == pytest.approx([0.1, 0.5])
    mine, other = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[1.5, 1.0], [3.0, 1.0]])
    assert figure_gap(mine, other).tolist() == [0.5, 3]
    assert figure_gap(mine[1], other[1]).tolist() == [0, 3]
