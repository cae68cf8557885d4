"""The Hypothesis strategies: every draw is valid, every word is reached, and examples shrink to the simplest prompt."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import find, given, settings

from ioi_fixtures.sentences import strategies
from ioi_fixtures.sentences.prompts import make_prompts
from ioi_fixtures.sentences.words import NAMES, OBJECTS, PLACES, TEMPLATES

few = settings(derandomize=True, deadline=None, max_examples=50)
search = settings(derandomize=True, deadline=None, max_examples=5000, database=None)


def simplest(strategy, condition=lambda drawn: True):
    return find(strategy, condition, settings=search)


def is_ioi(prompt):
    words = prompt.text.replace(",", "").split()
    return (
        prompt.s1 == prompt.s2
        and (words.count(prompt.io), words.count(prompt.s1)) == (1, 2)
        and prompt.answers == (prompt.io, prompt.s1)
    )


@few
@given(prompt=strategies.prompts())
def test_every_prompt_is_an_ioi_prompt(prompt):
    assert is_ioi(prompt)


@few
@given(prompts=strategies.batches_of_prompts(min_size=2, max_size=4))
def test_a_batch_has_the_size_asked_for(prompts):
    assert isinstance(prompts, tuple)
    assert 2 <= len(prompts) <= 4
    assert all(is_ioi(prompt) for prompt in prompts)


@few
@given(prompts=strategies.samples(12))
def test_a_sample_is_balanced_over_the_templates_and_orders_it_has(prompts):
    assert len(prompts) == 12
    assert all(is_ioi(prompt) for prompt in prompts)
    for groups in (Counter(prompt.template for prompt in prompts), Counter(prompt.order for prompt in prompts)):
        assert max(groups.values()) - min(groups.values()) <= 1


def test_prompts_shrink_to_the_first_template_and_the_first_words():
    prompt = simplest(strategies.prompts())
    assert (prompt.template, prompt.order) == (0, "ABBA")
    assert (prompt.io, prompt.s1, prompt.place, prompt.object) == (*NAMES[:2], PLACES[0], OBJECTS[0])
    assert simplest(strategies.batches_of_prompts()) == (prompt,)
    assert simplest(strategies.batches_of_prompts(min_size=3)) == (prompt,) * 3


def test_samples_shrink_to_the_first_seed_template_and_order():
    assert simplest(strategies.samples(3)) == make_prompts(3, seed=0, templates=(0,), orders=("ABBA",))


def test_a_sample_can_mix_templates_and_orders():
    mixed = simplest(
        strategies.samples(4), lambda drawn: drawn[0].template != drawn[1].template and drawn[0].order != drawn[1].order
    )
    assert mixed == make_prompts(4, seed=0, templates=(0, 1), orders=("ABBA", "BABA"))


@pytest.mark.parametrize("template", range(len(TEMPLATES)))
def test_every_template_is_drawn_and_keeps_the_rest_simple(template):
    prompt = simplest(strategies.prompts(), lambda drawn: drawn.template == template)
    [like_it] = make_prompts(1, seed=0, templates=(template,))
    assert prompt == replace(
        like_it,
        io=NAMES[0],
        s1=NAMES[1],
        s2=NAMES[1],
        answers=NAMES[:2],
        place=like_it.place and PLACES[0],
        object=like_it.object and OBJECTS[0],
    )


def test_both_orders_and_the_last_words_are_drawn():
    assert simplest(strategies.prompts(), lambda drawn: drawn.order == "BABA").order == "BABA"
    assert simplest(strategies.names(count=2), lambda drawn: drawn[1] == NAMES[-1]) == (NAMES[0], NAMES[-1])
    assert simplest(strategies.names(count=3), lambda drawn: drawn[0] == NAMES[1]) == (NAMES[1], NAMES[0], NAMES[2])
