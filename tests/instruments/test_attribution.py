"""Attributions sum to the logit difference, which nothing else does, and are read at each prompt's own end."""

from dataclasses import replace

import pytest
import torch

from ioi_fixtures.controls.random_families import random_of
from ioi_fixtures.controls.random_model import prompts, random_model
from lib.instruments.attribution import attribution_by_head, attribution_by_layer, logit_lens
from lib.instruments.identities import attribution_gap
from lib.models.activations import at_positions
from lib.models.backends.plain import PlainBackend
from lib.models.forward import answer_direction
from tests.support.rounding import EQUAL, agree, of_logits

KEEP = ("resid_pre", "attn_out", "mlp_out", "resid_final", "z", "final_scale")


@pytest.fixture(scope="module")
def small():
    return random_model(n_layer=3, n_head=2, n_embd=16)


@pytest.fixture(scope="module")
def batch():
    return prompts(12)


@pytest.fixture(scope="module")
def run(small, batch):
    return small.run(batch.tokens, last=batch.last, keep=KEEP)


@pytest.fixture(scope="module")
def tolerance(small, batch):
    return of_logits(small.weights, positions=batch.tokens.shape[1])


def test_heads_biases_mlps_and_embedding_sum_to_the_logit_difference(small, batch, run, tolerance):
    weights = small.weights
    direction = answer_direction(weights, batch.answers) / at_positions(run["final_scale"], run.last)
    heads = attribution_by_head(run, weights, batch.answers).sum((0, 1))
    biases = (weights.b_O.sum(0) * direction).sum(-1)
    _, mlps = attribution_by_layer(run, weights, batch.answers)
    embedding = (at_positions(run["resid_pre"][0], run.last) * direction).sum(-1)
    unembedding = weights.b_U[batch.answers[:, 0]] - weights.b_U[batch.answers[:, 1]]
    whole = heads + biases + mlps.sum(0) + embedding + unembedding
    assert agree(whole, run.logit_difference(batch.answers), tolerance)


def test_attention_layers_are_their_heads_and_their_bias(small, batch, run, tolerance):
    weights = small.weights
    direction = answer_direction(weights, batch.answers) / at_positions(run["final_scale"], run.last)
    layers, _ = attribution_by_layer(run, weights, batch.answers)
    heads = attribution_by_head(run, weights, batch.answers).sum(1)
    biases = weights.b_O @ direction.T
    assert agree(layers, heads + biases, tolerance)


def test_the_logit_lens_ends_at_the_models_own_logit_difference(small, batch, run, tolerance):
    lens = logit_lens(run, small.weights, batch.answers)
    assert lens.shape == (4, 12)
    assert agree(lens[-1], run.logit_difference(batch.answers), tolerance)


def test_attribution_at_the_last_column_of_a_padded_batch_is_another_figure(small, batch, run):
    right = attribution_by_head(run, small.weights, batch.answers)
    column = torch.full_like(run.last, batch.tokens.shape[1] - 1)
    padded = small.run(batch.tokens, last=column, keep=KEEP)
    wrong = attribution_by_head(padded, small.weights, batch.answers)
    assert (right - wrong).abs().max() > 0.1


def test_where_what_attention_writes_is_normalised_its_bias_is_as_well(batch):
    """No model that has such norms has biases there; one might."""
    weights = random_of("gemma2").weights
    biased = replace(weights, b_O=torch.linspace(-1, 1, weights.b_O.numel(), dtype=torch.float64).view_as(weights.b_O))
    asked = {"last": batch.last, "keep": KEEP, "edits": (), "mask": torch.ones_like(batch.tokens)}
    run = PlainBackend(biased).run(batch.tokens, **asked)
    assert float(attribution_gap(run, biased, batch.answers).max()) < EQUAL
    assert float(attribution_gap(run, weights, batch.answers).max()) > 1e-3
