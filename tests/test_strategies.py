"""The Hypothesis strategies: every draw is valid, every word is reached, and examples shrink to the simplest prompt."""

from dataclasses import replace

import pytest
from hypothesis import find, given, settings

from ioi_fixtures import strategies
from ioi_fixtures.prompts import make_prompts
from ioi_fixtures.words import NAMES, OBJECTS, PLACES, TEMPLATES

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
@given(pair=strategies.renamed_prompts(min_size=2, max_size=4))
def test_renamed_prompts_differ_in_names_alone(pair):
    originals, renamed = pair
    assert 2 <= len(originals) == len(renamed) <= 4
    for prompt, other in zip(originals, renamed, strict=True):
        assert is_ioi(prompt)
        assert is_ioi(other)
        assert len({prompt.io, prompt.s1, other.io, other.s1}) == 4
        assert replace(other, io=prompt.io, s1=prompt.s1, s2=prompt.s2, answers=prompt.answers) == prompt


def test_prompts_shrink_to_the_first_template_and_the_first_words():
    prompt = simplest(strategies.prompts())
    assert (prompt.template, prompt.order) == (0, "ABBA")
    assert (prompt.io, prompt.s1, prompt.place, prompt.object) == (*NAMES[:2], PLACES[0], OBJECTS[0])
    assert simplest(strategies.batches_of_prompts()) == (prompt,)
    assert simplest(strategies.batches_of_prompts(min_size=3)) == (prompt,) * 3


def test_renamed_prompts_shrink_to_the_first_four_names():
    (prompt,), (other,) = simplest(strategies.renamed_prompts())
    assert (prompt.template, prompt.io, prompt.s1, other.io, other.s1) == (0, *NAMES[:4])


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
