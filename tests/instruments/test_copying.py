"""Copy scores: literal on a two-token toy, equal to the definition on a model, and blind to nothing they should see."""

from dataclasses import replace

import pytest
import torch

from ioi_fixtures.controls.random_families import random_of
from ioi_fixtures.controls.random_model import random_model
from lib.instruments.copying import _written, copy_hits, copy_hits_of_all, embedding_after_first_mlp
from lib.models.activations import Weights
from lib.models.architecture import Architecture
from lib.models.forward import Block, mlp, normalize
from lib.models.heads import Head
from tests.support.rounding import EQUAL, agree


def toy(output):
    """One layer, two heads, eight tokens that are their own coordinates; head 0 writes `output` times what it reads."""
    zero = torch.zeros
    W_O = zero(1, 2, 8, 8)
    W_O[0, 0] = output * torch.eye(8)
    W_V = torch.eye(8).expand(1, 2, 8, 8)
    architecture = Architecture(
        n_layers=1, n_heads=2, n_kv_heads=2, d_model=8, d_head=8, d_mlp=3, d_vocab=8, n_ctx=4,
        norm="LayerNorm", norm_eps=1e-5, activation="gelu_new", scale=8**-0.5,
    )  # fmt: skip
    return Weights(
        architecture=architecture,
        W_E=torch.eye(8), W_pos=zero(4, 8), W_Q=zero(1, 2, 8, 8), W_K=zero(1, 2, 8, 8), W_V=W_V, W_O=W_O,
        b_Q=zero(1, 2, 8), b_K=zero(1, 2, 8), b_V=zero(1, 2, 8), b_O=zero(1, 8),
        W_in=zero(1, 8, 3), b_in=zero(1, 3), W_out=zero(1, 3, 8), b_out=zero(1, 8),
        W_U=torch.eye(8), b_U=zero(8),
    )  # fmt: skip


@pytest.mark.parametrize(("output", "sign", "expected"), [(1, 1, True), (-1, 1, False), (-1, -1, True), (1, -1, False)])
def test_a_head_that_writes_what_it_reads_copies_and_its_negative_does_not(output, sign, expected):
    tokens = torch.arange(8)
    assert (copy_hits(toy(output), Head(0, 0), torch.eye(8), tokens, top=1, sign=sign) == expected).all()


def test_five_logits_count_unless_told_otherwise():
    weights = toy(0)
    weights.b_U[:] = -torch.arange(8.0)
    assert copy_hits(weights, Head(0, 0), torch.eye(8), torch.arange(8)).tolist() == [True] * 5 + [False] * 3


def test_the_bias_of_the_unembedding_is_added_after_the_sign():
    weights = toy(-1)
    weights.b_U[3] = 100.0
    hits = copy_hits(weights, Head(0, 0), torch.eye(8), torch.arange(8), top=1, sign=-1)
    assert hits.tolist() == [token == 3 for token in range(8)]


def test_the_size_of_an_output_does_not_matter_unless_the_norms_epsilon_counts_beside_it():
    weights = toy(1)
    weights.b_U[3] = 2.0  # less than a head's own token has once its output is normalised
    hits = {
        size: copy_hits(weights, Head(0, 0), size * torch.eye(8), torch.arange(8), top=1).tolist()
        for size in (1e3, 1.0, 1e-3)
    }
    assert hits[1e3] == hits[1.0] == [True] * 8
    assert hits[1e-3] == [token == 3 for token in range(8)]


def test_the_heads_value_bias_is_left_out_though_it_could_decide_the_score():
    weights = toy(1)
    weights.b_V[0, 0, 3] = 100.0
    assert copy_hits(weights, Head(0, 0), torch.eye(8), torch.arange(8), top=1).all()
    with_bias = torch.eye(8) + weights.b_V[0, 0]  # W_V is the identity, so this is what the authors' code multiplies
    assert copy_hits(weights, Head(0, 0), with_bias, torch.arange(8), top=1).tolist() == [i == 3 for i in range(8)]


@pytest.mark.parametrize(("top", "sign"), [(5, 1), (20, -1)])
def test_hits_are_those_of_the_definition_spelled_out(top, sign):
    weights, tokens = random_model(n_layer=3, n_head=2, n_embd=24).weights, torch.arange(3, 43)
    resid = embedding_after_first_mlp(weights, tokens)
    everyone = copy_hits_of_all(weights, resid, tokens, top=top)[sign]
    assert everyone.shape == (2, 2, 40)
    for layer, index in ((1, 0), (1, 1), (2, 0), (2, 1)):
        for row, token in enumerate(tokens):
            output = sign * (resid[row] @ weights.W_V[layer, index] @ weights.W_O[layer, index])
            output = (output - output.mean()) / output.std(correction=0)
            best = (output @ weights.W_U + weights.b_U).topk(top).indices.tolist()
            assert everyone[layer - 1, index, row].item() == (token.item() in best)
    assert everyone.any()
    assert not everyone.all()
    assert torch.equal(everyone[1, 0], copy_hits(weights, Head(2, 0), resid, tokens, top=top, sign=sign))
    if (top, sign) == (5, 1):
        assert torch.equal(everyone, copy_hits_of_all(weights, resid, tokens)[1])
        assert {hits.dtype for hits in copy_hits_of_all(weights, resid, tokens).values()} == {torch.bool}


@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma2"])
def test_what_is_scored_is_what_the_norm_makes_of_a_heads_output(family):
    """Of each norm, and of matrices that leave a mean behind and read one."""
    weights = random_of(family).weights
    weights = replace(weights, W_O=weights.W_O + 0.1, W_U=weights.W_U + 0.1)
    resid, head = weights.W_E[3:40], Head(2, 3)
    output = resid @ weights.W_V[2, 3 // weights.architecture.group] @ weights.W_O[head]
    if weights.post_attention is not None:
        output = output * weights.post_attention[2]
    logits = normalize(output, weights) @ weights.W_U
    assert agree(_written(weights, head, resid, weights.W_U), logits, EQUAL)


def test_what_is_read_says_in_which_number_type_hits_are_computed():
    exact = random_of("llama").weights
    single = exact.to(torch.float32)
    resid, tokens = exact.W_E[3:40], torch.arange(3, 40)
    assert resid.dtype == torch.float64
    assert torch.equal(copy_hits_of_all(single, resid, tokens)[1], copy_hits_of_all(exact, resid, tokens)[1])
    head = Head(1, 2)
    assert torch.equal(copy_hits(single, head, resid, tokens), copy_hits(exact, head, resid, tokens))
    assert embedding_after_first_mlp(single, tokens).dtype == torch.float32
    assert embedding_after_first_mlp(single, tokens, dtype=torch.float64).dtype == torch.float64


def test_what_heads_read_is_the_embedding_and_the_first_mlp_of_it():
    weights, tokens = random_model(n_layer=3, n_head=2, n_embd=24).weights, torch.tensor([5, 2])
    embedded = weights.W_E[tokens]
    normal = torch.nn.functional.layer_norm(embedded, (24,), eps=weights.architecture.norm_eps)
    hidden = torch.nn.functional.gelu(normal @ weights.W_in[0] + weights.b_in[0], approximate="tanh")
    expected = embedded + hidden @ weights.W_out[0] + weights.b_out[0]
    assert agree(embedding_after_first_mlp(weights, tokens), expected, EQUAL)


def test_where_the_mlp_is_beside_attention_it_reads_the_embedding_as_well():
    weights, tokens = random_of("gpt_neox").weights, torch.tensor([5, 2])
    embedded = weights.W_E[tokens]
    expected = embedded + mlp(embedded, Block.of(weights, 0), weights)
    assert agree(embedding_after_first_mlp(weights, tokens), expected, EQUAL)


def test_names_that_stand_in_several_places_are_hits_in_the_same_shape():
    weights = toy(1)
    resid = torch.stack([torch.eye(8), torch.eye(8).roll(1, 0)])  # the second reads each token one place too late
    hits = copy_hits(weights, Head(0, 0), resid, torch.arange(8).expand(2, 8), top=1)
    assert hits.tolist() == [[True] * 8, [False] * 8]


def test_another_sign_is_refused():
    with pytest.raises(ValueError, match="sign is 0"):
        copy_hits(toy(1), Head(0, 0), torch.eye(8), torch.arange(8), sign=0)
