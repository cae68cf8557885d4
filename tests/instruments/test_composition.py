"""Composition scores and OV eigenvalues: equal to the plain definition on whole matrices, and not to a wrong one."""

import itertools
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from ioi_fixtures.controls.random_families import random_of
from ioi_fixtures.controls.random_model import one_thread, random_model
from lib.instruments.composition import (
    composition,
    eigenvalue_scores,
    lead,
    mean_of_others,
    share_led,
    token_loop,
    unrelated,
)
from lib.instruments.copying import embedding_after_first_mlp
from lib.models.attention_weights import AttentionWeights, read_attention_weights
from lib.models.heads import Head, heads
from tests.support.rounding import EQUAL, agree, of_eigenvalues

INPUTS = ("Q", "K", "V")


def plain_composition(weights, into, sender, receiver):
    """The definition, with d_model x d_model matrices, in double precision."""
    written = weights.W_V[sender].double() @ weights.W_O[sender].double()
    query_key = weights.W_Q[receiver].double() @ weights.W_K[receiver].double().T
    value_output = weights.W_V[receiver].double() @ weights.W_O[receiver].double()
    read = {"Q": query_key, "K": query_key.T, "V": value_output}[into]
    return float((written @ read).norm() / (written.norm() * read.norm()))


def in_type(weights, dtype):
    """The same weights in another number type."""
    return replace(weights, **{name: tensor.to(dtype) for name, tensor in weights.tensors().items()})


def plain_score(matrix):
    """Of all the eigenvalues of a whole matrix, most of them 0."""
    eigenvalues = torch.linalg.eigvals(matrix)
    return float(eigenvalues.real.sum() / eigenvalues.abs().sum())


@pytest.fixture(scope="module")
def small():
    return random_model(n_layer=3, n_head=2, n_embd=24).weights


@pytest.fixture(scope="module")
def gpt2(real_gpt2_files):
    return read_attention_weights(real_gpt2_files, dtype=torch.float64)


@pytest.fixture(scope="module")
def unfolded(real_gpt2_files, tmp_path_factory):
    """GPT-2 small's attention weights as they are with every LayerNorm gain taken for 1."""
    directory = tmp_path_factory.mktemp("unfolded")
    shutil.copy(real_gpt2_files / "config.json", directory)
    stored = load_file(real_gpt2_files / "model.safetensors")
    gains = {name: torch.ones_like(tensor) for name, tensor in stored.items() if name.endswith("ln_1.weight")}
    save_file({**stored, **gains}, directory / "model.safetensors")
    return read_attention_weights(directory, dtype=torch.float64)


@pytest.fixture(scope="module")
def gpt2_compositions(gpt2):
    return {into: composition(gpt2, into) for into in INPUTS}


@pytest.fixture(scope="module")
def gpt2_scores(gpt2):
    with one_thread():
        return eigenvalue_scores(gpt2)


def drawn(*, layers=3, n_heads=4, d_model=96, d_head=8, seed=0):
    """Weights of independent normal numbers, which have nothing to do with each other."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(layers, n_heads, *shape, generator=generator, dtype=torch.float64)

    names = ("W_Q", "W_K", "W_V")
    drawn = {name: draw(d_model, d_head) for name in names}
    return SimpleNamespace(W_O=draw(d_head, d_model), **drawn, post_attention=None)


@pytest.mark.parametrize("into", INPUTS)
def test_composition_is_the_definition_for_every_pair(into, small):
    scores = composition(small, into)
    pairs = [Head(layer, index) for layer in range(3) for index in range(2)]
    for sender, receiver in itertools.product(pairs, pairs):
        score = float(scores[(*sender, *receiver)])
        if sender.layer < receiver.layer:
            assert agree(score, plain_composition(small, into, sender, receiver), EQUAL)
        else:
            assert score != score  # not a number: there is no such pair


@pytest.mark.parametrize("into", INPUTS)
def test_composition_is_the_definition_on_gpt2_smalls_weights(into, gpt2_compositions, gpt2):
    scores = gpt2_compositions[into]
    for sender, receiver in [("4.11", "5.5"), ("8.10", "9.9"), ("0.1", "7.3"), ("0.0", "11.11"), ("10.7", "11.10")]:
        sender, receiver = Head.parse(sender), Head.parse(receiver)
        expected = plain_composition(gpt2, into, sender, receiver)
        assert agree(scores[(*sender, *receiver)], expected, EQUAL)


@pytest.mark.parametrize("into", INPUTS)
def test_composition_is_the_definition_where_keys_are_shared_and_outputs_have_gains(into):
    """Gains of the norm after attention are part of what a head writes, and none the less of what it reads as V."""
    weights = random_of("gemma2").weights
    shared = {name: getattr(weights, name).repeat_interleave(2, 1) for name in ("W_K", "W_V")}
    gains = weights.post_attention[:, None, None]
    whole = SimpleNamespace(W_Q=weights.W_Q, W_O=weights.W_O * gains, **shared)
    scores = composition(weights, into)
    for sender, receiver in itertools.product(heads("0.0 0.3 1.2"), heads("2.1 3.3")):
        expected = plain_composition(whole, into, sender, receiver)
        assert agree(scores[(*sender, *receiver)], expected, EQUAL)
        assert gains.std() > 0.05


def test_each_input_is_another_score(small):
    by_input = [composition(small, into)[0, 0, 2, 1] for into in INPUTS]
    assert min(abs(a - b) for a, b in itertools.combinations(by_input, 2)) > 1e-3


def test_composition_sees_a_sender_read_backwards(small):
    """W_O then W_V is another matrix than W_V then W_O."""
    backwards = SimpleNamespace(W_Q=small.W_Q, W_K=small.W_K, W_V=small.W_O.mT, W_O=small.W_V.mT, post_attention=None)
    assert (composition(backwards, "K") - composition(small, "K")).nan_to_num().abs().max() > 1e-2


def test_composition_sees_gain_left_unfolded(gpt2_compositions, unfolded):
    assert (composition(unfolded, "K") - gpt2_compositions["K"]).nan_to_num().abs().max() > 0.05


def test_a_head_reads_all_of_one_that_writes_only_what_it_reads():
    weights = drawn(layers=2, n_heads=1, d_model=8, d_head=2)
    eye = torch.eye(8, dtype=torch.float64)
    weights.W_V[0, 0], weights.W_O[0, 0] = eye[:, 0:2], eye[2:4]  # writes into dimensions 2 and 3
    weights.W_K[1, 0], weights.W_Q[1, 0] = eye[:, 2:4], eye[:, 5:7]  # whose keys read those, and queries 5 and 6
    assert float(composition(weights, "K")[0, 0, 1, 0]) == pytest.approx(2**-0.5)  # |1_2| / (|1_2| |1_2|)
    assert float(composition(weights, "Q")[0, 0, 1, 0]) == 0


def test_random_heads_that_are_centred_compose_as_much_as_unrelated_says():
    weights = drawn(n_heads=60, d_model=24, d_head=4)
    weights.W_O -= weights.W_O.mean(-1, keepdim=True)
    for reads in (weights.W_Q, weights.W_K, weights.W_V):
        reads -= reads.mean(-2, keepdim=True)
    for into in INPUTS:
        scores = composition(weights, into)
        typical = float(scores[~scores.isnan()].square().mean().sqrt())
        assert typical == pytest.approx(unrelated(weights), rel=0.01)  # not rounding: 1 / sqrt(d_model) is .02 off


def test_a_silent_head_composes_with_nothing():
    weights = drawn(layers=2)
    weights.W_O[0, 1] = 0
    scores = composition(weights, "K")
    assert (scores[0, 1, 1] == 0).all()
    assert (scores[0, 0, 1] > 0).all()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_weights_of_any_number_type_give_what_the_same_numbers_give_in_float64(dtype):
    stored = random_model(n_layer=3, n_head=2, n_embd=24, dtype="float32").weights
    coarse, fine = (
        in_type(in_type(stored, getattr(torch, dtype)), of) for of in (getattr(torch, dtype), torch.float64)
    )
    for into in INPUTS:
        assert agree(composition(coarse, into).nan_to_num(), composition(fine, into).nan_to_num(), EQUAL)
    assert agree(eigenvalue_scores(coarse), eigenvalue_scores(fine), of_eigenvalues(fine.d_head))
    vocabulary = torch.arange(len(fine.W_E))
    scores = []
    for weights in (coarse, fine):
        embedding = embedding_after_first_mlp(weights, vocabulary, dtype=torch.float64)
        scores.append(eigenvalue_scores(weights, loop=token_loop(embedding, weights.W_U)))
    assert agree(*scores, of_eigenvalues(fine.d_head))


@pytest.mark.parametrize("head", heads("5.8 9.9 10.7"), ids=str)
def test_full_ov_scores_of_float32_weights_are_numpys_of_the_whole_product(head, planted_model):
    """5.8's eigenvalues nearly cancel: of what is left, sums in float32 get no digit right."""
    weights, vocabulary = planted_model.weights, torch.arange(len(planted_model.weights.W_E))
    embedding = embedding_after_first_mlp(weights, vocabulary, dtype=torch.float64)
    with one_thread():
        score = eigenvalue_scores(weights, loop=token_loop(embedding, weights.W_U))[head]
    W_V, W_O, W_U = (one.double().numpy() for one in (weights.W_V[head], weights.W_O[head], weights.W_U))
    eigenvalues = np.linalg.eigvals(embedding.numpy() @ W_V @ W_O @ W_U)  # from tokens to tokens
    expected = float(eigenvalues.real.sum() / np.abs(eigenvalues).sum())
    assert agree(score, expected, of_eigenvalues(len(eigenvalues)))


def test_a_vocabulary_is_gone_through_in_parts(small, monkeypatch):
    whole = token_loop(small.W_E, small.W_U)
    monkeypatch.setattr("lib.instruments.composition.TOKENS", 10)
    assert agree(token_loop(small.W_E, small.W_U), whole, EQUAL)


def test_an_unknown_input_is_refused(small):
    with pytest.raises(ValueError, match="'keys': a head takes in Q, K or V"):
        composition(small, "keys")


def test_eigenvalue_scores_are_those_of_the_whole_matrices(small):
    scores = eigenvalue_scores(small)
    for layer, index in itertools.product(range(3), range(2)):
        expected = plain_score(small.W_V[layer, index] @ small.W_O[layer, index])
        assert agree(scores[layer, index], expected, of_eigenvalues(24))


def test_full_ov_scores_are_those_of_the_matrix_from_tokens_to_tokens(small):
    after_first_mlp = embedding_after_first_mlp(small, torch.arange(len(small.W_E)))
    scores = [eigenvalue_scores(small)]
    for embedding in (small.W_E, after_first_mlp):
        scores.append(eigenvalue_scores(small, loop=token_loop(embedding, small.W_U)))
        for layer, index in itertools.product(range(3), range(2)):
            expected = plain_score(embedding @ small.W_V[layer, index] @ small.W_O[layer, index] @ small.W_U)
            assert agree(scores[-1][layer, index], expected, of_eigenvalues(len(small.W_E)))
    assert min((a - b).abs().max() for a, b in itertools.combinations(scores, 2)) > 0.1


@pytest.mark.parametrize("head", heads("9.9 10.7"), ids=str)
def test_eigenvalue_scores_of_gpt2_small_are_those_of_the_whole_matrices(head, gpt2, gpt2_scores):
    with one_thread():
        whole = plain_score(gpt2.W_V[head].double() @ gpt2.W_O[head].double())
    assert agree(gpt2_scores[head], whole, of_eigenvalues(768))


def test_eigenvalue_scores_see_gain_left_unfolded(gpt2_scores, unfolded):
    with one_thread():
        assert (eigenvalue_scores(unfolded) - gpt2_scores).abs().max() > 0.1


def test_a_copying_a_negating_a_turning_and_a_silent_head_score_one_minus_one_and_nought():
    """With W_V's transpose for W_O, every eigenvalue of an orthonormal W_V is 1."""
    weights = drawn(layers=1, n_heads=4, d_model=16, d_head=4)
    turn = torch.eye(4, dtype=torch.float64).roll(1, 0)  # its eigenvalues are the fourth roots of one: they sum to 0
    W_V = torch.linalg.qr(weights.W_V).Q
    W_O = torch.stack([W_V[0, 0].T, -W_V[0, 1].T, turn @ W_V[0, 2].T, 0 * W_V[0, 3].T])[None]
    scores = eigenvalue_scores(SimpleNamespace(W_Q=W_V, W_K=W_V, W_V=W_V, W_O=W_O, post_attention=None))
    assert agree(scores, torch.tensor([[1.0, -1.0, 0.0, 0.0]]), of_eigenvalues(4))


def test_an_embedding_of_other_tokens_than_the_unembedding_is_refused(small):
    with pytest.raises(ValueError, match="one row of the embedding for each column"):
        token_loop(small.W_E[1:], small.W_U)


def test_lead_and_mean_compare_the_heads_that_can_send():
    scores = torch.full((3, 2, 3, 2), torch.nan)
    scores[:2, :, 2, 0] = torch.tensor([[0.1, 0.5], [0.4, 0.3]])
    receiver = Head(2, 0)
    assert lead(scores, receiver, heads("0.1")) == pytest.approx(0.1)
    assert lead(scores, receiver, heads("1.0 1.1 2.1")) == pytest.approx(-0.1)  # 2.1 stands beside the receiver
    assert mean_of_others(scores, receiver, heads("0.1")) == pytest.approx(0.8 / 3)
    assert share_led(scores, [receiver], heads("0.1")) == 1
    assert share_led(scores, [receiver], heads("1.0")) == 0
    scores[:2, :, 2, 1] = scores[:2, :, 2, 0].flip(0)  # led by 1.1
    assert share_led(scores, [receiver, Head(2, 1)], heads("0.1")) == 0.5
    scores[1, 0, 2, 0] = 0.5
    assert share_led(scores, [receiver], heads("0.1")) == 0  # a tie is no lead


def test_a_comparison_with_nobody_on_one_side_is_refused():
    scores = composition(drawn(layers=2, n_heads=2), "K")
    for senders in (heads("1.0"), heads("0.0 0.1")):
        with pytest.raises(ValueError, match=r"leave nothing to compare at 1\.0: .*layers before 1 must"):
            lead(scores, Head(1, 0), senders)
    with pytest.raises(ValueError, match="^there are no receivers: give at least one head$"):
        share_led(scores, [], heads("0.0"))


def test_a_loaded_model_and_its_attention_weights_give_the_same(small):
    assert torch.equal(eigenvalue_scores(small), eigenvalue_scores(AttentionWeights.of(small)))
