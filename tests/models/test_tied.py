"""A model whose unembedding is its embedding, and whose config.json, as GPT-2's own, leaves that to be known."""

import json

import pytest
import torch
from transformer_lens.model_bridge import TransformerBridge
from transformers import GPT2Config

from ioi_fixtures.published import FOLDER
from ioi_fixtures.trained import DIRECTORY as TRAINED
from ioi_fixtures.trained import tied
from lib.instruments.identities import forward_in_plain_transformers, largest_gap
from lib.instruments.witness import weight_gaps
from lib.judging.references import read_references
from lib.judging.statistics import exact
from lib.models.model import hash_weights, load
from tests.support.rounding import agree, of_weights_in_float32

DIRECTORY = tied.directory()
TOKENS, LAST = torch.arange(1, 17).view(2, 8), torch.tensor([7, 7])


@pytest.fixture(scope="module")
def witness():
    return load(DIRECTORY, device="cpu", dtype="float64", backend="plain")


def gaps(model, witness):
    """How far logits are from those of plain transformers, and matrices from those of the witness."""
    plain = forward_in_plain_transformers(DIRECTORY, TOKENS, LAST, model.dtype)
    logits = largest_gap(model.run(TOKENS, last=LAST).logits, plain).max()
    return float(logits), max(weight_gaps(model.weights, witness.weights).values())


def test_it_is_the_trained_model_stored_as_gpt2_is():
    with_key, without = (json.loads((path / "config.json").read_text()) for path in (TRAINED, DIRECTORY))
    assert with_key.pop("tie_word_embeddings")
    assert without == with_key
    assert hash_weights(TRAINED) == hash_weights(DIRECTORY)


def test_it_is_read_as_tied(witness):
    model = load(DIRECTORY, device="cpu")
    logits, weights = gaps(model, witness)
    assert agree(logits, 0.0, of_weights_in_float32(model.weights))
    assert exact(weights) in read_references(FOLDER)["instruments/witness-weights"]


def test_a_library_that_folds_the_last_norm_into_both_ends_is_noticed(witness, monkeypatch):
    original = TransformerBridge.enable_compatibility_mode

    def folds_both(self, **given):
        original(self, **given)
        self.embed.weight.data = self.unembed.W_U.T.clone()

    monkeypatch.setattr(TransformerBridge, "enable_compatibility_mode", folds_both)
    logits, weights = gaps(load(DIRECTORY, device="cpu"), witness)
    assert logits > 1e-2
    assert weights > 1e-2


def test_another_default_is_noticed(witness, monkeypatch):
    original = GPT2Config.__init__

    def untied(self, *given, **named):
        original(self, *given, **{"tie_word_embeddings": False, **named})

    monkeypatch.setattr(GPT2Config, "__init__", untied)
    _, weights = gaps(load(DIRECTORY, device="cpu"), witness)
    assert weights > 1  # an unembedding drawn at random
