"""The sentences `trained` learns from, and what is kept from it.

First clauses and second clauses of `words.TEMPLATES` are combined, but never the two of one template, so each of the
templates that claims use is new to the trained model. So is one pair of names in ten. In a quarter of the sentences the
second clause is about a third person: either of the other two is then the answer, as often as the other.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import torch
from torch import Tensor

from ioi_fixtures.planted.tokenizer import vocabulary
from ioi_fixtures.sentences.prompts import Prompt, draw, make_prompts, stream
from ioi_fixtures.sentences.words import NAMES, OBJECTS, PLACES, TEMPLATES

THIRD_PERSON = 0.25  # share of sentences with no repeated name
_PIECE = re.compile(r" \{\w+\}| ?\w+|[^\w\s]")  # a slot, or a token as planted/tokenizer.py splits them
_SECOND_CLAUSE = " {S}"
_NUMBER = {name: number for number, name in enumerate(NAMES)}
NOUNS = {" {PLACE}": PLACES, " {OBJECT}": OBJECTS}


def patterns() -> tuple[tuple[str, ...], ...]:
    """Every first clause with the second clause of every other template, as tokens and slots such as " {A}"."""
    clauses = [template.partition(_SECOND_CLAUSE) for template in TEMPLATES]
    return tuple(
        tuple(_PIECE.findall(first + subject + second))
        for i, (first, *_) in enumerate(clauses)
        for j, (_, subject, second) in enumerate(clauses)
        if i != j
    )


def is_kept_back(one: str, other: str) -> bool:
    """Whether two names are never trained on as the two people of a sentence: one pair in ten."""
    return (_NUMBER[one] + _NUMBER[other]) % 10 == 0


def kept_back(n: int, *, seed: int) -> tuple[Prompt, ...]:
    """Of `n` drawn prompts, those whose pair of names was kept back; their templates all were."""
    return tuple(prompt for prompt in make_prompts(n, seed=seed) if is_kept_back(prompt.io, prompt.s1))


class Sentences:
    """An endless supply of sentences with their answers, as tokens of the reference model's tokenizer."""

    def __init__(self, seed: int) -> None:
        self.uniform = stream("training", seed)
        self.patterns = patterns()
        self.ids = {token: index for index, token in enumerate(vocabulary())}

    def batch(self, n: int) -> tuple[Tensor, Tensor]:
        """`n` sentences with the answer as last token, padded on the right with token 0. int64 [n pos], lengths [n]"""
        rows = [torch.tensor(self.one()) for _ in range(n)]
        return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True), torch.tensor([len(row) for row in rows])

    def one(self) -> list[int]:
        """The token ids of one sentence, its answer at the end."""
        pattern = draw(self.uniform, self.patterns)
        first, second = _pair(self.uniform)
        subject, answer = (first, second) if self.uniform() < 0.5 else (second, first)
        if self.uniform() < THIRD_PERSON:
            subject = draw(self.uniform, NAMES, excluding=(first, second))
        people = {" {A}": first, " {B}": second, " {S}": subject}
        words = [people.get(piece) or draw(self.uniform, NOUNS.get(piece, (piece,))) for piece in pattern]
        slots = [f" {word}" if "{" in piece else word for word, piece in zip(words, pattern, strict=True)]
        return [self.ids[token] for token in (*slots, f" {answer}")]


def _pair(uniform: Callable[[], float]) -> tuple[str, str]:
    """Two different names that are not kept back."""
    first = draw(uniform, NAMES)
    return first, draw(uniform, [name for name in NAMES if name != first and not is_kept_back(first, name)])
