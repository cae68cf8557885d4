"""Prompts: the same on every machine, balanced, and refused where pattern and words do not belong together."""

import hashlib
from collections import Counter
from dataclasses import replace

import pytest

from ioi_fixtures.sentences.prompts import PLACEHOLDER, Prompt, make_prompts
from ioi_fixtures.sentences.words import NAMES, OBJECTS, PLACES, TEMPLATES

IOI = Prompt(0, "When {A} and {B} met, {S} spoke to", "ABBA", io="Mary", s1="John", s2="John", answers=("Mary", "John"))


def test_a_seed_means_these_sentences():
    assert [(prompt.order, prompt.text, prompt.answers) for prompt in make_prompts(4, seed=1)] == [
        (
            "ABBA",
            "While Emily and Elizabeth were waiting at the restaurant, Elizabeth handed a box to",
            ("Emily", "Elizabeth"),
        ),
        ("BABA", "Yesterday Robert and Carol walked to the cemetery, and Robert passed a gift to", ("Carol", "Robert")),
        (
            "ABBA",
            "Once Lauren and Patricia had arrived at the bridge, Patricia offered the bucket to",
            ("Lauren", "Patricia"),
        ),
        ("BABA", "As soon as Richard and Samuel left the bar, Richard sent a camera to", ("Samuel", "Richard")),
    ]


def test_a_seed_means_these_thousand_prompts():
    # Measured numbers rest on these sentences: changing a word makes them incomparable, so change this line knowingly.
    text = "\n".join(prompt.text for prompt in make_prompts(1000, seed=0))
    assert (
        hashlib.sha256(text.encode()).hexdigest() == "bc5beb385d5bda03a0932372f1a8e6a5a6fa9b12159411bfb1af2f8c8a147b8e"
    )


def test_another_seed_means_other_prompts():
    assert make_prompts(5, seed=0) != make_prompts(5, seed=1)


def test_a_larger_n_only_adds_prompts():
    assert make_prompts(30, seed=3) == make_prompts(100, seed=3)[:30]


@pytest.mark.parametrize("templates", [range(len(TEMPLATES)), (3,), (0, 4, 9)])
@pytest.mark.parametrize("n", [1, 7, 12, 25, 100])
def test_prompts_are_balanced_over_templates_and_orders(n, templates):
    prompts = make_prompts(n, seed=0, templates=templates)
    assert len(prompts) == n
    per_template = Counter(prompt.template for prompt in prompts)
    counts = [per_template[template] for template in templates]
    assert max(counts) - min(counts) <= 1
    assert set(per_template) <= set(templates)
    for template in per_template:
        orders = Counter(prompt.order for prompt in prompts if prompt.template == template)
        assert abs(orders["ABBA"] - orders["BABA"]) <= 1


def test_one_order_can_be_asked_for():
    assert {prompt.order for prompt in make_prompts(30, seed=0, orders=("BABA",))} == {"BABA"}


@pytest.mark.parametrize(
    "asked", [{"n": 0}, {"templates": ()}, {"templates": (0, 12)}, {"templates": (-1,)}, {"orders": ()}], ids=str
)
def test_prompts_that_cannot_be_made_are_refused(asked):
    with pytest.raises(ValueError, match="ask for at least one of each, and for templates from 0 to 11"):
        make_prompts(**({"n": 3, "seed": 0} | asked))


def test_an_unknown_order_is_refused():
    with pytest.raises(ValueError, match="order is 'BAB'"):
        make_prompts(3, seed=0, orders=("BAB",))


def test_every_prompt_is_an_ioi_prompt():
    for prompt in make_prompts(300, seed=5):
        words = prompt.text.replace(",", "").split()
        assert (words.count(prompt.io), words.count(prompt.s1)) == (1, 2)
        assert prompt.s1 == prompt.s2 == prompt.answers[1]
        assert prompt.io == prompt.answers[0]
        assert words[-1] == "to"


def test_no_word_is_in_two_lists_or_twice_in_one():
    words = [*NAMES, *PLACES, *OBJECTS]
    assert len(words) == len(set(words))


def test_no_template_holds_a_word_that_it_draws():
    fixed = set(PLACEHOLDER.sub("", " ".join(TEMPLATES)).replace(",", "").split())
    assert not fixed & {*NAMES, *PLACES, *OBJECTS}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"order": "BAAB"}, "order is 'BAAB'; use 'ABBA'"),
        ({"pattern": "When {A} met, {S} spoke to"}, r"needs \{A\}, \{B\} and \{S\} once each"),
        ({"pattern": "When {B} and {A} met, {S} spoke to"}, "in this order"),
        ({"pattern": "{A} and {B} met, {S} spoke to"}, "each after a space"),
        ({"place": "park"}, r"has 0 \{PLACE\} after a space, but place is 'park'"),
        ({"pattern": "When {A} and {B} saw a {OBJECT}, {S} spoke to"}, r"has 1 \{OBJECT\} .* but object is ''"),
        ({"answers": ("Mary", "Mary")}, "both answers are 'Mary'"),
    ],
)
def test_a_pattern_and_words_that_do_not_fit_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(IOI, **change)


def test_braces_of_a_foreign_text_stay():
    assert (
        replace(IOI, pattern="In {x} {A} and {B} met, {S} spoke to").text == "In {x} Mary and John met, John spoke to"
    )
