"""IOI prompts: what one is, how they are drawn, and how they become tokens with named positions.

Follows the data set of Wang et al. 2022 (§2 and App. E): two names, one of them again, and a blank the other name
fills. Two differences, on purpose: the text never holds the answer, so END is simply its last token; and the drawing is
seeded, on one documented-stable method, so a seed means the same prompts on every platform and Python.

Out of scope: other names or another order (`variants`), other people's files (`prompt_files`), running a model.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ioi_fixtures.sentences.tokens import called, check_words, tokenize, unknown_words
from ioi_fixtures.sentences.words import NAMES, OBJECTS, PLACES, TEMPLATES
from lib.one_line import OneLine

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ORDERS = ("ABBA", "BABA")
ROLES = ("IO", "S1", "S2")
# With its leading space: a word at the very start of a sentence, or after a quotation mark, is another token.
PLACEHOLDER = re.compile(r" \{(A|B|S|PLACE|OBJECT)\}")


@dataclass(frozen=True, repr=False)
class Prompt(OneLine):
    """One prompt: a pattern and the words that fill it.

    `pattern` holds {A} and {B}, the names of the first clause in order, and {S}, the name of the second clause; it may
    hold {PLACE} and {OBJECT}. Under "ABBA" {A} is the indirect object and {B} the subject; under "BABA" the reverse.
    `s1` and `s2` are the same name in an IOI prompt. A variant changes names and order only: `answers`, the (right,
    wrong) names a prompt is scored with, stay those of the prompt it was made from. `template` numbers the group a mean
    ablation averages over: its prompts all have the same layout, in either order.

    Raises ValueError where pattern and words do not belong together.
    """

    template: int
    pattern: str
    order: str
    io: str
    s1: str
    s2: str
    answers: tuple[str, str]
    place: str = ""
    object: str = ""

    def __post_init__(self) -> None:
        if self.order not in ORDERS:
            raise ValueError(f"order is {self.order!r}; use 'ABBA' (the indirect object comes first) or 'BABA'")
        fields = PLACEHOLDER.findall(self.pattern)
        if [field for field in fields if field in "ABS"] != ["A", "B", "S"]:
            raise ValueError(
                f"pattern {self.pattern!r} has the placeholders {fields}; "
                "it needs {A}, {B} and {S} once each, in this order, each after a space"
            )
        for field, word in (("PLACE", self.place), ("OBJECT", self.object)):
            if fields.count(field) != bool(word):
                raise ValueError(
                    f"pattern {self.pattern!r} has {fields.count(field)} {{{field}}} after a space, "
                    f"but {field.lower()} is {word!r}; give a word exactly where the pattern asks for one"
                )
        if self.answers[0] == self.answers[1]:
            raise ValueError(f"both answers are {self.answers[0]!r}; a prompt is scored right against wrong")

    def __repr__(self) -> str:
        return f"Prompt({self.text!r})"

    @property
    def text(self) -> str:
        """The prompt as the model reads it, without the answer."""
        return self._fill(self.pattern)

    @property
    def words(self) -> tuple[str, ...]:
        """Every word that has to be one token: names, answers, and the place and object where the pattern asks."""
        return tuple(word for word in (self.io, self.s1, self.s2, *self.answers, self.place, self.object) if word)

    def name(self, role: str) -> str:
        """The name in `role`: "IO", "S1" or "S2"."""
        return {"IO": self.io, "S1": self.s1, "S2": self.s2}[role]

    def before(self, role: str) -> str:
        """The text before the name in `role` ("IO", "S1" or "S2") and before the name's leading space."""
        io, s1 = ("{A}", "{B}") if self.order == "ABBA" else ("{B}", "{A}")
        placeholder = {"IO": io, "S1": s1, "S2": "{S}"}[role]
        return self._fill(self.pattern[: self.pattern.index(" " + placeholder)])

    def _fill(self, pattern: str) -> str:
        first, second = (self.io, self.s1) if self.order == "ABBA" else (self.s1, self.io)
        words = {"A": first, "B": second, "S": self.s2, "PLACE": self.place, "OBJECT": self.object}
        return PLACEHOLDER.sub(lambda match: " " + words[match[1]], pattern)


def stream(purpose: str, seed: int) -> Callable[[], float]:
    """Uniform numbers in [0, 1) for one purpose and seed; another purpose with the same seed is independent.

    Only `random.Random.random` is promised to repeat itself across Python versions; `choice`, `sample` and `shuffle`
    are not, so everything here is drawn with `draw`.
    """
    return random.Random(f"{purpose}/{seed}").random


def draw(uniform: Callable[[], float], words: Iterable[str], *, excluding: Iterable[str] = ()) -> str:
    """One of `words` that is not in `excluding`, by one uniform number."""
    excluded = set(excluding)
    left = [word for word in words if word not in excluded]
    return left[int(uniform() * len(left))]


def make_prompts(
    n: int, *, seed: int, templates: Sequence[int] = range(len(TEMPLATES)), orders: Sequence[str] = ORDERS
) -> tuple[Prompt, ...]:
    """`n` IOI prompts, balanced over `templates` (indices into TEMPLATES) and `orders` for every n.

    The groups of any two templates, and the two orders within a template, differ by one prompt at most. The first k of
    n prompts are the k prompts of the same seed, so a larger N only adds prompts.
    """
    if n < 1 or not templates or not orders or not set(templates) <= set(range(len(TEMPLATES))):
        raise ValueError(
            f"n={n}, templates={[*templates]}, orders={[*orders]}; ask for at least one of each, "
            f"and for templates from 0 to {len(TEMPLATES) - 1}"
        )
    uniform = stream("prompts", seed)
    prompts = []
    for i in range(n):
        cycle, place_in_cycle = divmod(i, len(templates))
        template = templates[place_in_cycle]
        pattern = TEMPLATES[template]
        # Every word is drawn whether the template asks for it or not: a changed template leaves later prompts alone.
        io = draw(uniform, NAMES)
        s = draw(uniform, NAMES, excluding=(io,))
        place, thing = draw(uniform, PLACES), draw(uniform, OBJECTS)
        order = orders[(place_in_cycle + cycle) % len(orders)]
        place, thing = (place if "{PLACE}" in pattern else ""), (thing if "{OBJECT}" in pattern else "")
        prompts.append(Prompt(template, pattern, order, io, s1=s, s2=s, answers=(io, s), place=place, object=thing))
    return tuple(prompts)


@dataclass(frozen=True, eq=False, repr=False)
class Batch(OneLine):
    """Prompts as tokens, padded on the right, with the position of everything a claim asks about.

    tokens      int64 [batch pos]; what follows a prompt's last token is padding
    lengths     int64 [batch], real tokens, the start token included
    positions   "IO", "S1", "S1+1" (the token after S1), "S2", "END" (the last real token) -> int64 [batch]
    answers     int64 [batch 2], token ids of the (right, wrong) name
    template    int64 [batch], the group for a mean ablation by template
    prepend_bos whether position 0 is the start token

    Index with a slice or a tensor, never with -1 into the tokens: the last column of a short prompt is padding.
    """

    tokens: Tensor
    lengths: Tensor
    positions: Mapping[str, Tensor]
    answers: Tensor
    template: Tensor
    prompts: tuple[Prompt, ...]
    prepend_bos: bool

    def __len__(self) -> int:
        return len(self.prompts)

    def __repr__(self) -> str:
        groups, (shortest, longest) = len(self.template.unique()), torch.aminmax(self.lengths)
        bos = "with BOS" if self.prepend_bos else "without BOS"
        return f"Batch(N={len(self)}, templates={groups}, lengths={shortest}-{longest}, {bos})"

    def __getitem__(self, index: slice | Tensor) -> Batch:
        """The chosen prompts (a slice, int64 indices or a bool mask), as wide as this batch, so caches still fit."""
        chosen = torch.arange(len(self))[index.cpu() if isinstance(index, Tensor) else index]
        if chosen.ndim != 1 or not len(chosen):
            raise ValueError(f"index {index!r} does not choose a list of prompts; use a non-empty slice or 1-d tensor")
        return self._each(
            lambda tensor: tensor[chosen.to(tensor.device)], tuple(self.prompts[i] for i in chosen.tolist())
        )

    def to(self, device: torch.device | str) -> Batch:
        """The same batch with every tensor on `device`."""
        return self._each(lambda tensor: tensor.to(device), self.prompts)

    def sentence(self, i: int) -> str:
        """The text of prompt `i`, without the answer."""
        return self.prompts[i].text

    def _each(self, change: Callable[[Tensor], Tensor], prompts: tuple[Prompt, ...]) -> Batch:
        return replace(
            self,
            tokens=change(self.tokens),
            lengths=change(self.lengths),
            positions=MappingProxyType({name: change(position) for name, position in self.positions.items()}),
            answers=change(self.answers),
            template=change(self.template),
            prompts=prompts,
        )


def encode(prompts: Iterable[Prompt], tokenizer: PreTrainedTokenizerBase, *, prepend_bos: bool) -> Batch:
    """The prompts as one Batch.

    The start token is added here or not at all, never by the tokenizer. A position is the number of tokens before the
    name, and it is checked: the token found there must be the name with its leading space. Raises ValueError for a word
    that is not one token, an unknown token, a name not found at its position, or two layouts in one template.
    """
    prompts = tuple(prompts)
    if not prompts:
        raise ValueError("no prompts to encode; give at least one")
    ids = check_words(tokenizer, (word for prompt in prompts for word in prompt.words))
    if prepend_bos and tokenizer.bos_token_id is None:
        raise ValueError(f"{called(tokenizer)} has no start token; use prepend_bos=False")
    pad = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    if pad is None:
        raise ValueError(f"{called(tokenizer)} has neither a padding nor an end token; set tokenizer.pad_token")

    bos = [tokenizer.bos_token_id] if prepend_bos else []
    rows = [bos + row for row in tokenize(tokenizer, [prompt.text for prompt in prompts])]
    lengths = torch.tensor([len(row) for row in rows])
    tokens = torch.full((len(rows), int(lengths.max())), pad)
    for i, row in enumerate(rows):
        tokens[i, : len(row)] = torch.tensor(row)
    before = {role: tokenize(tokenizer, [prompt.before(role) for prompt in prompts]) for role in ROLES}
    io, s1, s2 = (torch.tensor([len(bos) + len(pieces) for pieces in before[role]]) for role in ROLES)
    positions = {"IO": io, "S1": s1, "S1+1": s1 + 1, "S2": s2, "END": lengths - 1}

    for i, (prompt, row) in enumerate(zip(prompts, rows, strict=True)):
        for role in ROLES:
            position = int(positions[role][i])
            if row[position : position + 1] != [ids[prompt.name(role)]]:
                found = tokenizer.decode(row[position : position + 1])
                wrong = f"{prompt.text!r}: {role} is {prompt.name(role)!r} but position {position} holds {found!r}"
                raise ValueError(f"{wrong}; a name needs a space before it, and no letters after it")
        if bos and row[1:2] == bos:
            raise ValueError(f"{prompt.text!r} begins with the start token, which is put there already: leave it out")
        if tokenizer.unk_token_id in row[len(bos) :]:
            unknown = ", ".join(map(repr, unknown_words(prompt.text, tokenizer)))
            raise ValueError(
                f"{prompt.text!r} holds {unknown}, which {called(tokenizer)} does not know; change one or the other"
            )
    _check_layouts(prompts, positions)
    return Batch(
        tokens=tokens,
        lengths=lengths,
        positions=MappingProxyType(positions),
        answers=torch.tensor([[ids[name] for name in prompt.answers] for prompt in prompts]),
        template=torch.tensor([prompt.template for prompt in prompts]),
        prompts=prompts,
        prepend_bos=prepend_bos,
    )


def _check_layouts(prompts: Sequence[Prompt], positions: Mapping[str, Tensor]) -> None:
    columns = (positions[name].tolist() for name in ("IO", "S1", "S2", "END"))
    first: dict[int, tuple[tuple[int, ...], Prompt]] = {}
    for prompt, io, s1, s2, end in zip(prompts, *columns, strict=True):
        layout = (min(io, s1), max(io, s1), s2, end)
        expected, example = first.setdefault(prompt.template, (layout, prompt))
        if layout != expected:
            raise ValueError(
                f"template {prompt.template} has two layouts: names and END at {expected} in {example.text!r}, "
                f"at {layout} in {prompt.text!r}; a mean would mix positions, so give them different template numbers"
            )
