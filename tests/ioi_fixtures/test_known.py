"""Prompts in the words that a tokenizer has: none changes where it has all, and what it lacks is exchanged."""

import pytest

from ioi_fixtures.sentences.known import FEWEST, Words, in_known_words, words_of
from ioi_fixtures.sentences.prompts import encode, make_prompts
from ioi_fixtures.sentences.words import NAMES, OBJECTS, PLACES
from tests.support.word_tokenizer import word_level

ALL = Words(NAMES, PLACES, OBJECTS)
FEW = Words(NAMES[1::3], PLACES[1::2], OBJECTS[::2])


def test_a_tokenizer_with_all_words_leaves_prompts_as_they_are():
    prompts = make_prompts(60, seed=0)
    assert in_known_words(prompts, ALL) == prompts
    assert ALL.said == ""


def test_every_word_is_known_and_the_structure_stays():
    prompts = make_prompts(500, seed=1)
    changed = in_known_words(prompts, FEW)
    assert sum(one != other for one, other in zip(prompts, changed, strict=True)) > 400
    for old, new in zip(prompts, changed, strict=True):
        assert {new.io, new.s1, new.s2, *new.answers} <= {*FEW.names}
        assert new.s1 == new.s2 == new.answers[1] != new.io == new.answers[0]
        assert (new.template, new.order, bool(new.place)) == (old.template, old.order, bool(old.place))
        assert new.place in ("", *FEW.places)
        assert new.object in ("", *FEW.objects)
        assert all(getattr(new, role) == getattr(old, role) for role in ("io", "s1") if getattr(old, role) in FEW.names)
    assert len({prompt.io for prompt in changed}) == len(FEW.names)
    assert FEW.said.startswith("prompts are made of the 33 of 100 names, 30 of 60 places, 31 of 62 objects that")


def test_the_words_are_those_of_the_tokenizer():
    tokenizer = word_level(eos_token="<eos>")
    assert words_of(tokenizer) == ALL
    prompts = in_known_words(make_prompts(12, seed=0), words_of(tokenizer))
    assert len(encode(prompts, tokenizer, prepend_bos=False)) == 12


@pytest.mark.parametrize("kind", FEWEST)
def test_too_few_words_of_a_kind_are_refused_by_name(kind, monkeypatch):
    known = ALL._replace(**{kind: getattr(ALL, kind)[: FEWEST[kind] - 1]})
    monkeypatch.setattr(
        "ioi_fixtures.sentences.known.known_words",
        lambda tokenizer, ours: next(words for full, words in zip(ALL, known, strict=True) if full == ours),
    )
    with pytest.raises(ValueError, match=rf"{FEWEST[kind] - 1} of the suite's \d+ {kind} are one token"):
        words_of(word_level(eos_token="<eos>"))
