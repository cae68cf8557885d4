"""The layer maths: what the model itself computes, layer by layer, and one softmax however the keys are split."""

from dataclasses import replace

import pytest
import torch

from ioi_fixtures.controls.random_families import random_of
from ioi_fixtures.controls.random_model import one_thread, prompts, random_model
from lib.models import forward
from tests.support.other_architecture import other_architecture
from tests.support.rounding import EQUAL, agree, of_logits


@pytest.fixture(scope="module")
def case():
    model = random_model(n_layer=3, n_head=2, n_embd=16)
    with one_thread():
        batch = prompts(6)
        yield model, batch, batch.run(model), of_logits(model.weights, positions=batch.tokens.shape[1])


def largest_difference(a, b):
    return float((a - b).abs().max())


def test_the_weights_say_what_is_added_to_the_variance(case):
    weights = other_architecture(case[0].weights, norm_eps=0.5)
    x = torch.tensor([[1.0, 3.0]], dtype=torch.float64)
    assert agree(forward.normalize(x, weights), x.new_tensor([[-1.0, 1.0]]) / 1.5**0.5, EQUAL)


@pytest.mark.parametrize("layer", range(3))
def test_every_step_of_a_block_is_the_model_s_own(case, layer):
    model, _, run, tolerance = case
    block = forward.blocks(model.weights)[layer]
    for site, value in zip("qkv", forward.project(run["resid_pre"][layer], block, model.weights), strict=True):
        assert agree(value, run[site][layer], tolerance)
    pattern = forward.attention_pattern(run["q"][layer], run["k"][layer], block, model.weights)
    assert agree(pattern, run["pattern"][layer], tolerance)
    assert agree(forward.combine(run["z"][layer], block, model.weights), run["attn_out"][layer], tolerance)
    stream = run["resid_pre"][layer] + run["attn_out"][layer]
    expected = stream + run["mlp_out"][layer]
    forward.add_mlp_(stream, block, model.weights, run["resid_pre"][layer])
    assert agree(stream, expected, tolerance)


def test_the_logit_difference_is_the_model_s_own(case):
    model, batch, run, tolerance = case
    final = run["resid_pre"][2] + run["attn_out"][2] + run["mlp_out"][2]
    at_end = final[torch.arange(6), batch.last]
    measured = forward.logit_difference(at_end, model.weights, batch.answers)
    assert agree(measured, run.logit_difference(batch.answers), tolerance)
    swapped = forward.logit_difference(at_end, model.weights, batch.answers.flip(1))
    assert largest_difference(measured, swapped) > 1e-2
    next_to_end = forward.logit_difference(final[torch.arange(6), batch.last - 1], model.weights, batch.answers)
    assert largest_difference(measured, next_to_end) > 1e-2


def test_another_activation_gives_other_values(case):
    model, _, run, _ = case
    block = forward.blocks(model.weights)[0]
    right, wrong = run["resid_pre"][0].clone(), run["resid_pre"][0].clone()
    forward.add_mlp_(right, block, model.weights, right)
    forward.add_mlp_(wrong, block, other_architecture(model.weights, activation="gelu"), wrong)
    assert largest_difference(right, wrong) > 1e-5


def test_an_unknown_activation_is_refused(case):
    model, *_ = case
    with pytest.raises(ValueError, match="activation is 'swish'; this suite knows gelu_new"):
        forward.blocks(other_architecture(model.weights, activation="swish"))


def test_attention_is_the_same_however_keys_are_split_into_past_and_own(case):
    model, _, run, tolerance = case
    q, k, v = (run[site][1] for site in "qkv")  # batch pos head d_head
    q = q * model.weights.architecture.scale
    width = q.shape[1]
    causal = torch.ones(width, width, dtype=torch.bool).tril()
    for split in (1, 4, 9):
        past_k, past_v = k.clone(), v.clone()
        past_k[:, split:], past_v[:, split:] = 1e3, 1e3  # what stands past the split must not be read
        z = forward.attend(
            q[None, :, split:].expand(2, -1, -1, -1, -1),
            k[None, :, split:].expand(2, -1, -1, -1, -1),
            v[None, :, split:].expand(2, -1, -1, -1, -1),
            past_k=past_k,
            past_v=past_v,
            sees_past=(torch.arange(width) < split).expand(6, 1, -1),
            sees=causal[split:, split:].expand(6, -1, -1),
            cap=None,
        )
        assert agree(z, run["z"][1][None, :, split:], tolerance)


def test_a_block_of_some_heads_is_part_of_the_block(case):
    model, _, run, tolerance = case
    some, all_heads = forward.Block.of(model.weights, 1).only([1]), forward.Block.of(model.weights, 1)
    for one, every in zip(
        forward.project(run["resid_pre"][1], some, model.weights),
        forward.project(run["resid_pre"][1], all_heads, model.weights),
        strict=True,
    ):
        assert agree(one[..., 0, :], every[..., 1, :], tolerance)
        assert largest_difference(one[..., 0, :], every[..., 0, :]) > 1e-2


def test_heads_that_share_keys_and_values_have_them_each_in_a_block_of_some():
    """Four heads of a layer, of which every two share theirs."""
    weights = random_of("llama").weights
    block, some = forward.Block.of(weights, 1), [3, 0, 1]
    stream = torch.randn(2, 5, weights.architecture.d_model, dtype=torch.float64)
    parts, everything = (forward.project(stream, one, weights) for one in (block.only(some), block))
    for part, every, places in zip(parts, everything, (some, [1, 0, 0], [1, 0, 0]), strict=True):
        assert agree(part, every[..., places, :], EQUAL)


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_what_a_norm_divides_by_is_what_it_divides_by(family):
    weights = random_of(family).weights
    x = torch.randn(3, weights.architecture.d_model, dtype=torch.float64) + 2  # streams of a folded model are centred
    centred = x - x.mean(-1, keepdim=True) if family == "gpt2" else x
    assert agree(centred / forward.norm_scale(x, weights), forward.normalize(x, weights), EQUAL)


@pytest.mark.parametrize("family", ["gpt2", "llama", "mistral"])
def test_padding_before_a_prompt_is_seen_by_nobody(family):
    weights = random_of(family).weights
    block, one = forward.Block.of(weights, 1), weights.architecture
    q, k = (torch.randn(2, 7, n, one.d_head, dtype=torch.float64) for n in (one.n_heads, one.n_kv_heads))
    real = torch.arange(7).expand(2, -1) >= 2
    padded = forward.attention_pattern(q, k, block, weights, real=real)
    assert agree(padded[..., 2:, 2:], forward.attention_pattern(q[:, 2:], k[:, 2:], block, weights), EQUAL)
    assert not padded[..., 2:, :2].any()


def test_a_group_is_of_heads_also_where_a_head_is_as_wide_as_there_are_heads():
    of_groups = torch.arange(2 * 3 * 2 * 4).view(2, 3, 2, 4)
    z = forward.mixed(torch.eye(3).expand(2, 4, 3, 3), of_groups.float())
    assert torch.equal(z, of_groups[:, :, [0, 0, 1, 1]].float())


@pytest.mark.parametrize("family", ["gpt2", "gemma2"])
def test_the_unembeddings_bias_is_added_before_any_cap(family):
    weights = random_of(family).weights
    weights = replace(weights, b_U=torch.linspace(-9, 9, len(weights.b_U), dtype=torch.float64))
    resid, answers = torch.randn(4, weights.architecture.d_model, dtype=torch.float64), torch.arange(8).view(4, 2) * 9
    logits = forward.capped(
        forward.normalize(resid, weights) @ weights.W_U + weights.b_U, weights.architecture.final_cap
    )
    picked = logits.gather(1, answers)
    assert agree(forward.logit_difference(resid, weights, answers), picked[:, 0] - picked[:, 1], EQUAL)
