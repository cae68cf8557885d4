"""Prompts in words that a tokenizer has as one token each: what it lacks is exchanged for another word of the kind.

A tokenizer that has all of our words leaves every prompt as it is. Out of scope: other people's prompts, whose words
are theirs: those that are not one token are refused by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from ioi_fixtures.sentences.prompts import Prompt
from ioi_fixtures.sentences.tokens import NAMED, called, known_words
from ioi_fixtures.sentences.words import NAMES, OBJECTS, PLACES
from lib.one_line import first_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Fewer would make prompts too much alike: names that a claim's prompts, their ABC partners and fresh ones share.
FEWEST = {"names": 24, "places": 8, "objects": 8}


class Words(NamedTuple):
    """The words of each kind that a tokenizer has as one token."""

    names: tuple[str, ...]
    places: tuple[str, ...]
    objects: tuple[str, ...]

    @property
    def said(self) -> str:
        """How many that is, as a sentence; empty where it is all of them."""
        kinds = zip(self._fields, self, (NAMES, PLACES, OBJECTS), strict=True)
        few = [f"{len(known)} of {len(ours)} {kind}" for kind, known, ours in kinds if len(known) < len(ours)]
        return f"prompts are made of the {', '.join(few)} that its tokenizer has as one token" if few else ""


def words_of(tokenizer: PreTrainedTokenizerBase) -> Words:
    """Our words that the tokenizer has as one token. Raises ValueError, naming what is missing, where too few are."""
    known = Words(*(known_words(tokenizer, ours) for ours in (NAMES, PLACES, OBJECTS)))
    for kind, words, ours in zip(Words._fields, known, (NAMES, PLACES, OBJECTS), strict=True):
        if len(words) < FEWEST[kind]:
            missing = [repr(word) for word in ours if word not in words]
            raise ValueError(
                f"{len(words)} of the suite's {len(ours)} {kind} are one token of {called(tokenizer)} with a leading "
                f"space, and at least {FEWEST[kind]} are needed (not one token: {first_of(missing, NAMED)}); use other "
                "words (ioi_fixtures/sentences/words.py, or your prompt file)"
            )
    return known


def in_known_words(prompts: Iterable[Prompt], words: Words) -> tuple[Prompt, ...]:
    """The prompts, each word that is not among `words` exchanged for one that is, the same one wherever it stands."""
    return tuple(_exchanged(prompt, words) for prompt in prompts)


def _exchanged(prompt: Prompt, words: Words) -> Prompt:
    here = dict.fromkeys((prompt.io, prompt.s1, prompt.s2, *prompt.answers))
    new: dict[str, str] = {name: name for name in here if name in words.names}
    for name in here:
        if name not in new:
            new[name] = _other(name, NAMES, [word for word in words.names if word not in new.values()])
    names = {role: new[getattr(prompt, role)] for role in ("io", "s1", "s2")}
    return replace(
        prompt,
        **names,
        answers=tuple(new[name] for name in prompt.answers),
        place=_known(prompt.place, PLACES, words.places),
        object=_known(prompt.object, OBJECTS, words.objects),
    )


def _known(word: str, ours: Sequence[str], known: Sequence[str]) -> str:
    return word if not word or word in known else _other(word, ours, known)


def _other(word: str, ours: Sequence[str], known: Sequence[str]) -> str:
    return known[(ours.index(word) if word in ours else 0) % len(known)]
