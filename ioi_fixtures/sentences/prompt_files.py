"""Prompts from somebody else's file, as the same `Prompt` this suite draws itself.

The formats that are read are those of `file_formats`, as JSON, JSON lines or CSV (`file_rows`). Corrupted prompts and
positions in a file are not read: `variants` makes the former, and the latter are found by token, since files count with
or without a start token. What is not an IOI prompt is refused by line or row, never repaired.

Out of scope: parquet (export it as JSON lines or CSV), and prompts of any other task.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ioi_fixtures.sentences.file_formats import format_of, read_row
from ioi_fixtures.sentences.file_rows import read_rows
from ioi_fixtures.sentences.people import other_people
from ioi_fixtures.sentences.prompts import Prompt, encode, stream
from ioi_fixtures.sentences.words import NAMES, OTHER_NAMES
from lib.one_line import counted

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SHOWN = 20  # lines named in one message; where a file is not IOI at all, every row is refused alike
START_TOKENS = ("<|endoftext|>", "<|begin_of_text|>", "<s>", "<bos>", "[CLS]")  # of other models than the one asked


@dataclass(frozen=True)
class Chosen:
    """The prompts of a file that a session runs, what a reader has to know of the choice, how many different prompts
    the file has (None where they are generated and do not run out), and how many rows."""

    prompts: tuple[Prompt, ...]
    notes: tuple[str, ...]
    available: int | None
    rows: int = 0


@dataclass(frozen=True)
class _Read:
    """A prompt, where in the file it stands, and what two rows share if the model cannot tell them apart."""

    place: str
    prompt: Prompt
    identity: tuple[tuple[int, ...], tuple[str, str]]  # tokens, answers


def read_prompts(path: str | Path, tokenizer: PreTrainedTokenizerBase) -> tuple[Prompt, ...]:
    """The prompts of the file at `path`, ready for `encode` and for every variant.

    `template` numbers the groups a mean ablation may average over: one for each template label of the file and layout
    (length, and positions of the names), from 0 in the order they appear; so prompts of two files, or of a file and
    `make_prompts`, belong in two batches. A file without labels, auto-circuit's for one, is grouped by layout alone.
    Raises ValueError with file, line or row, and reason, if any prompt is refused.
    """
    return tuple(read.prompt for read in _read(Path(path), tokenizer))


def choose_prompts(
    path: str | Path, tokenizer: PreTrainedTokenizerBase, *, at_least: int, at_most: int, seed: int
) -> Chosen:
    """The different prompts of a file, or `at_most` of them drawn by `seed`, in the order of the file.

    A row that repeats another one's text and answers says nothing new, so it is counted once. Raises ValueError where
    fewer than `at_least` different ones are left, and as `read_prompts` does.
    """
    path = Path(path)
    rows = _read(path, tokenizer)
    first: dict[object, str] = {}
    repeats = [(row.place, found) for row in rows if (found := first.setdefault(row.identity, row.place)) != row.place]
    prompts = [row.prompt for row in rows if first[row.identity] == row.place]
    notes = []
    if repeats:
        place, repeated = repeats[0]
        more = f", and {len(repeats) - 1:,} more" if repeats[1:] else ""
        notes.append(f"{path.name}: {place} repeats {repeated}{more}; what is repeated is counted once")
    if len(prompts) < at_least:
        left = counted(len(prompts), "different prompt" if repeats else "prompt")
        raise ValueError(
            f"{path}: {left}, and no figure of fewer than {at_least} has an interval that can be relied on: use a "
            f"larger file{f' ({notes[0]})' if notes else ''}"
        )
    taken = min(at_most, len(prompts))
    drawn = f", drawn by seed {seed}" if taken < len(prompts) else ""
    notes.insert(0, f"{taken:,} of {len(rows):,} rows of {path.name}{drawn}")
    return Chosen(tuple(sample(prompts, at_most, seed=seed)), tuple(notes), len(prompts), len(rows))


def says_bos(path: str | Path) -> bool | None:
    """Whether a file says that its prompts begin with the start token: by the key "bos" of our own format, in every row
    alike. None where it does not say. Raises ValueError where rows differ; of what is no truth `read_prompts` does."""
    said: dict[bool | None, str] = {}
    for place, row in read_rows(Path(path)):
        if isinstance(row, dict) and {"prompt", "io"} <= {*row}:
            said.setdefault({"true": True, "false": False}.get(str(row.get("bos")).lower()), place)
    if len(said) > 1:
        (one, first), (other, second), *_ = said.items()
        raise ValueError(f"{path}: bos is {one} at {first} and {other} at {second}: it is one for the whole file")
    return next(iter(said), None)


def sample(prompts: Sequence[Prompt], n: int, *, seed: int) -> list[Prompt]:
    """`n` of the prompts, or all if there are no more, in their order; every one with the same probability.

    Drawn at equal distances from the prompts put in order of template and order (systematic sampling): templates and
    orders have the shares that they have among all, to one prompt.
    """
    if len(prompts) <= n:
        return list(prompts)
    uniform = stream("sample", seed)
    shuffled = sorted((prompt.template, prompt.order, uniform(), i) for i, prompt in enumerate(prompts))
    start = uniform()
    chosen = [shuffled[int((i + start) * len(prompts) / n)][-1] for i in range(n)]
    return [prompts[i] for i in sorted(chosen)]


def _read(path: Path, tokenizer: PreTrainedTokenizerBase) -> list[_Read]:
    rows = read_rows(path)
    if not rows:
        raise ValueError(f"{path}: no prompts in this file")
    try:
        schema = format_of(rows[0][1])
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    refused: dict[str, list[str]] = {}  # places by reason
    parts = {}
    for place, row in rows:
        try:
            parts[place] = read_row(schema, row).parts(tokenizer)
        except ValueError as error:
            refused.setdefault(str(error), []).append(place)
    known = {*NAMES, *OTHER_NAMES, *(name for _, io, s, _ in parts.values() for name in (io, s))}
    tokens = (*tokenizer.all_special_tokens, *START_TOKENS)
    special = [token for token in tokens if re.fullmatch(r"[<\[].+[>\]]", token)]  # no ordinary word used for padding
    groups: dict[Any, int] = {}
    found = []
    for place, (text, io, s, label) in parts.items():
        try:
            _check_special_tokens(text, special)
            prompt = _prompt(text, io, s, known)
            batch = encode([prompt], tokenizer, prepend_bos=False)
        except ValueError as error:
            refused.setdefault(str(error), []).append(place)
            continue
        positions = {role: int(position) for role, position in batch.positions.items()}
        layout = (*sorted((positions["IO"], positions["S1"])), positions["S2"], positions["END"])
        prompt = replace(prompt, template=groups.setdefault((label, layout), len(groups)))
        found.append(_Read(place, prompt, (tuple(batch.tokens[0].tolist()), prompt.answers)))
    if refused:
        raise ValueError(_refusal(path, refused, len(rows)))
    return found


def _refusal(path: Path, refused: dict[str, list[str]], rows: int) -> str:
    """All that is refused in one message: places and their reason, the first ones by name."""
    count = sum(map(len, refused.values()))
    lines = [f"{path}: {count:,} of {rows:,} prompts refused"]
    left = SHOWN
    for reason, places in sorted(refused.items(), key=lambda one: int(one[1][0].split()[1])):
        if left < 1:
            break
        unit, numbers = places[0].split()[0], [place.split()[1] for place in places]
        more = f" and {len(numbers) - left:,} more" if len(numbers) > left else ""
        lines.append(f"{unit}{'s' if numbers[1:] else ''} {', '.join(numbers[:left])}{more}: {reason}")
        count -= len(numbers)
        left -= len(numbers)
    return "\n  ".join([*lines, *([f"and {count:,} more"] if count else [])])


def _prompt(text: str, io: str, s: str, known: Collection[str]) -> Prompt:
    """The prompt with its names cut out of the text, if it is an IOI prompt."""
    if io == s:
        raise ValueError(f"IO and S are both {io!r}")
    if text != text.rstrip():
        raise ValueError("the prompt ends in a space, which is a token of its own; the answer brings its own space")
    found = [
        (match.start(), name) for name in (io, s) for match in re.finditer(rf"(?<!\w){re.escape(name)}(?!\w)", text)
    ]
    found.sort()
    order = [name for _, name in found]
    if found and found[-1] == (len(text) - len(io), io):
        raise ValueError(f"the prompt ends in its answer {io!r}; leave the answer out")
    if order.count(io) != 1 or order.count(s) != 2:
        raise ValueError(
            f"IO {io!r} occurs {order.count(io)} times and S {s!r} {order.count(s)} times; IOI has one and two"
        )
    if order[2] != s:
        raise ValueError(f"IO {io!r} comes after S2; in IOI it comes before")
    if any(text[start - 1 : start] != " " for start, _ in found):
        raise ValueError("a name is not preceded by a space, so it is another token; put a word before it")
    if others := other_people(text, io, s, known):
        raise ValueError(
            f"besides IO {io!r} and S {s!r} it names {', '.join(map(repr, others))}; IOI has two people, so leave "
            "the row out or name nobody else"
        )
    pattern, end = "", 0
    for (start, name), placeholder in zip(found, ("{A}", "{B}", "{S}"), strict=True):
        pattern += text[end:start] + placeholder
        end = start + len(name)
    pattern += text[end:]
    abba = order[0] == io
    return Prompt(0, pattern, "ABBA" if abba else "BABA", io=io, s1=s, s2=s, answers=(io, s))


def _check_special_tokens(text: str, special: Collection[str]) -> None:
    for token in special:
        if token in text:
            where = "begins with" if text.startswith(token) else "holds"
            raise ValueError(
                f"the text {where} the special token {token!r}: a start token is put before every prompt by "
                "--claims-bos yes, so take it out"
            )
