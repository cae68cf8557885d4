"""Variants: each changes the names or the order it says, and nothing else."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ioi_fixtures.sentences import variants
from ioi_fixtures.sentences.prompts import Prompt, encode, make_prompts
from ioi_fixtures.sentences.strategies import batches_of_prompts
from ioi_fixtures.sentences.words import NAMES
from tests.support.word_tokenizer import word_level

few = settings(derandomize=True, deadline=None, max_examples=25)
seeds = st.integers(0, 2**16)
IOI = Prompt(0, "When {A} and {B} met, {S} spoke to", "ABBA", io="Mary", s1="John", s2="John", answers=("Mary", "John"))


@pytest.fixture(scope="module")
def tokenizer():
    return word_level(bos_token="<bos>", pad_token="<pad>")


def only_names_and_order_differ(variant, original):
    kept = ("template", "pattern", "answers", "place", "object")
    return all(getattr(variant, field) == getattr(original, field) for field in kept)


@few
@given(prompts=batches_of_prompts(), seed=seeds)
def test_abc_has_three_names_that_the_original_does_not_have(prompts, seed):
    for abc, prompt in zip(variants.abc(prompts, seed=seed), prompts, strict=True):
        assert len({abc.io, abc.s1, abc.s2, prompt.io, prompt.s1}) == 5
        assert abc.order == prompt.order
        assert only_names_and_order_differ(abc, prompt)


@few
@given(prompts=batches_of_prompts(), seed=seeds)
def test_random_s2_repeats_nothing(prompts, seed):
    for variant, prompt in zip(variants.random_s2(prompts, seed=seed), prompts, strict=True):
        assert variant == replace(prompt, s2=variant.s2)
        assert variant.s2 not in (prompt.io, prompt.s1)


@few
@given(prompts=batches_of_prompts(), seed=seeds)
def test_fresh_names_keep_the_structure(prompts, seed):
    for variant, prompt in zip(variants.fresh_names(prompts, seed=seed), prompts, strict=True):
        assert variant.s1 == variant.s2
        assert len({variant.io, variant.s1, prompt.io, prompt.s1}) == 4
        assert variant.order == prompt.order
        assert only_names_and_order_differ(variant, prompt)


def test_fresh_names_of_an_abc_prompt_are_three():
    [fresh] = variants.fresh_names(variants.abc([IOI], seed=0), seed=0)
    assert len({fresh.io, fresh.s1, fresh.s2, "Mary", "John"}) == 5


@few
@given(prompts=batches_of_prompts())
def test_swapping_and_flipping_are_their_own_inverses(prompts):
    assert variants.swap_names(variants.swap_names(prompts)) == prompts
    assert variants.flip_order(variants.flip_order(prompts)) == prompts


def test_a_variant_of_a_variant_still_avoids_the_answers():
    renamed = variants.fresh_names(make_prompts(500, seed=0), seed=0)
    for twice in (variants.abc(renamed, seed=1), variants.fresh_names(renamed, seed=1)):
        assert all({prompt.io, prompt.s1, prompt.s2}.isdisjoint(prompt.answers) for prompt in twice)


def test_what_each_variant_says():
    def text(variant):
        [prompt] = variant
        assert prompt.answers == ("Mary", "John")
        return prompt.text

    assert text(variants.swap_s2([IOI])) == "When Mary and John met, Mary spoke to"
    assert text(variants.swap_names([IOI])) == "When John and Mary met, Mary spoke to"
    assert text(variants.flip_order([IOI])) == "When John and Mary met, John spoke to"
    assert text(variants.random_s2([IOI], seed=0)) == "When Mary and John met, Martin spoke to"
    assert text(variants.fresh_names([IOI], seed=0)) == "When Anthony and Andrew met, Andrew spoke to"
    assert text(variants.abc([IOI], seed=0)) == "When Kevin and Donald met, Emma spoke to"


def test_fresh_names_come_from_those_that_are_given():
    few_names = ("Mary", "John", "Anna", "Paul", "Kate", "Adam")
    for vary, count in ((variants.abc, 3), (variants.fresh_names, 2)):
        for prompt in vary([IOI] * 20, seed=0, names=few_names):
            assert len({prompt.io, prompt.s1, prompt.s2}) == count
            assert {prompt.io, prompt.s1, prompt.s2} <= {*few_names[2:]}


@pytest.mark.parametrize("vary", [variants.abc, variants.random_s2, variants.fresh_names])
def test_a_seeded_variant_of_the_first_prompts_is_the_first_of_the_variant(vary):
    prompts = make_prompts(20, seed=2)
    assert vary(prompts[:7], seed=4) == vary(prompts, seed=4)[:7]
    assert vary(prompts, seed=4) != vary(prompts, seed=5)


def test_equal_seeds_of_prompts_and_variants_are_not_the_same_stream():
    prompts = make_prompts(200, seed=6)
    for vary in (variants.abc, variants.fresh_names):
        pairs = zip(prompts, vary(prompts, seed=6), strict=True)
        ranks = torch.tensor([[NAMES.index(prompt.io), NAMES.index(variant.io)] for prompt, variant in pairs])
        # Drawn from one stream the two would rise together; 200 independent pairs stay below .25 (3.5 deviations).
        assert abs(torch.corrcoef(ranks.double().T)[0, 1]) < 0.25


@few
@given(prompts=batches_of_prompts(), seed=seeds)
def test_variants_keep_lengths_and_positions(tokenizer, prompts, seed):
    batch = encode(prompts, tokenizer, prepend_bos=False)
    for variant in (
        variants.abc(prompts, seed=seed),
        variants.random_s2(prompts, seed=seed),
        variants.fresh_names(prompts, seed=seed),
        variants.swap_s2(prompts),
        variants.swap_names(prompts),
    ):
        other = encode(variant, tokenizer, prepend_bos=False)
        assert torch.equal(other.lengths, batch.lengths)
        assert all(torch.equal(other.positions[name], batch.positions[name]) for name in batch.positions)
        assert torch.equal(other.answers, batch.answers)
    flipped = encode(variants.flip_order(prompts), tokenizer, prepend_bos=False)
    assert torch.equal(flipped.positions["IO"], batch.positions["S1"])
    assert torch.equal(flipped.positions["S1"], batch.positions["IO"])
    assert all(torch.equal(flipped.positions[name], batch.positions[name]) for name in ("S2", "END"))
