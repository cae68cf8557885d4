"""Estimates of what keeping a head adds: together they are what all heads add, and alone what a small step shows."""

import pytest
import torch

from ioi_fixtures.controls.random_families import random_of
from ioi_fixtures.controls.random_model import other_names, prompts
from lib.instruments.ablation import means_by_group, run_circuits
from lib.instruments.screening import effects_of_keeping
from lib.models.backends.plain import forward_in_plain_tensors
from lib.models.heads import Head

STEPS = 40  # of the integral's midpoint rule, which errs by some 1 / STEPS**2
NEAR = 0.003
CURVED = 1e-6  # not rounding: what a difference of a thousandth leaves of a slope that changes
POSITIONS = ("S1+1", "S2", "END")


@pytest.fixture(scope="module", params=["gpt2", "llama", "gemma2", "gpt_neox"])
def case(request):
    model, batch = random_of(request.param), prompts(12)
    run = model.run(batch.tokens, last=batch.last, keep=("resid_pre",))
    other = other_names(batch)
    values = means_by_group(model.run(other.tokens, last=other.last, keep=("z",))["z"], batch.template)
    return model.weights, batch, run, values


def estimated(weights, batch, values, steps):
    positions = {name: batch.positions[name] for name in POSITIONS}
    settings = {"positions": positions, "values": values, "steps": steps}
    return effects_of_keeping(weights, batch.tokens, batch.last, batch.answers, **settings)


def test_every_tensor_is_made_where_the_prompts_are(case):
    """As on a GPU, what is made elsewhere cannot meet what is there. Here, elsewhere is the default device."""
    weights, batch, _, values = case
    expected = estimated(weights, batch, values, 1)
    with torch.device("meta"):
        found = estimated(weights, batch, values, 1)
    assert all(torch.equal(found[name], expected[name]) for name in POSITIONS)


def test_they_add_up_to_what_all_heads_add(case):
    weights, batch, run, values = case
    found = estimated(weights, batch, values, STEPS)
    assert {name: tuple(effects.shape) for name, effects in found.items()} == dict.fromkeys(
        POSITIONS, (weights.n_layers, weights.n_heads)
    )
    everything = {Head(i, j): POSITIONS for i in range(weights.n_layers) for j in range(weights.n_heads)}
    circuits = {"positions": batch.positions, "values": values, "answers": batch.answers}
    nothing, all_kept = run_circuits(weights, run, [{}, everything], **circuits).mean(-1)
    difference, together = float(all_kept - nothing), float(sum(effects.sum() for effects in found.values()))
    assert abs(together - difference) < NEAR
    assert abs(difference) > 10 * NEAR


def test_each_is_the_slope_of_its_own_head_at_its_own_position(case):
    """With one step, halfway: against a difference of a thousandth, made without gradients."""
    weights, batch, _, values = case
    found = estimated(weights, batch, values, 1)
    kept = {(layer, name): 0.5 for layer in range(weights.n_layers) for name in POSITIONS}

    def difference(head, at, share):
        def edit(site, layer, z):
            if site != "z":
                return z
            z, rows = z.clone(), torch.arange(len(z))
            shares = torch.zeros(z.shape[:3], dtype=z.dtype)
            for name in POSITIONS:
                shares[rows, batch.positions[name]] = kept[layer, name]
            if layer == head.layer:
                shares[rows, batch.positions[at], head.index] = share
            return values[layer] + shares[..., None] * (z - values[layer])

        logits = forward_in_plain_tensors(weights, batch.tokens, batch.last, edit=edit)
        right, wrong = logits.gather(1, batch.answers).T
        return float((right - wrong).mean())

    for head, at in ((Head(0, 1), "S2"), (Head(1, 0), "S1+1"), (Head(2, 1), "END")):
        slope = (difference(head, at, 0.5005) - difference(head, at, 0.4995)) / 0.001
        assert abs(float(found[at][head]) - slope) < CURVED
