"""Prompts from somebody else's file, as the same `Prompt` this suite draws itself.

Four formats, told apart by the keys of the first prompt:

- auto-circuit JSON: `{"prompts": [{"clean": ..., "answers": [" Mary"], "wrong_answers": [" John"]}]}`
- MIB (mib-bench/ioi as JSON lines): `{"prompt": ..., "metadata": {"indirect_object": "Mary", "subject": "John"}}`
- Easy-Transformer JSON: `[{"text": ..., "IO": "Mary", "S": "John", "TEMPLATE_IDX": 0}]`, whose text ends in the answer
- our own JSON lines: `{"prompt": "... to", "io": "Mary", "s": "John"}`, and optionally "template", any label

Corrupted prompts and positions in a file are not read: `variants` makes the former, and the latter are found by token,
since files count with or without a start token. What is not an IOI prompt is refused by line or row, never repaired.

Out of scope: parquet and CSV (export them as JSON lines), and prompts of any other task.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ioi_fixtures.sentences.prompts import Prompt, encode

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SHOWN = 20  # refusals spelled out in one message; where a file is not IOI at all, every row is refused alike


class _Row(BaseModel):
    """One prompt of a file. Unknown fields are ignored: other people's formats hold more than is read here."""

    def parts(self) -> tuple[str, str, str, str | int | None]:
        """Text without the answer, IO, S, and the file's own template label."""
        raise NotImplementedError


class _Ours(_Row):
    model_config = ConfigDict(extra="forbid")  # our own format: a misspelled key is a mistake, not somebody's extra
    prompt: str
    io: str
    s: str
    template: str | int | None = None

    def parts(self) -> tuple[str, str, str, str | int | None]:
        return self.prompt, self.io, self.s, self.template


class _AutoCircuit(_Row):
    clean: str
    answers: list[str] = Field(min_length=1, max_length=1)
    wrong_answers: list[str] = Field(min_length=1, max_length=1)

    def parts(self) -> tuple[str, str, str, str | int | None]:
        return self.clean, self.answers[0].removeprefix(" "), self.wrong_answers[0].removeprefix(" "), None


class _MibNames(BaseModel):
    indirect_object: str
    subject: str


class _Mib(_Row):
    prompt: str
    metadata: _MibNames
    template: str | None = None

    def parts(self) -> tuple[str, str, str, str | int | None]:
        return self.prompt, self.metadata.indirect_object, self.metadata.subject, self.template


class _EasyTransformer(_Row):
    text: str
    IO: str
    S: str
    TEMPLATE_IDX: int | None = None

    def parts(self) -> tuple[str, str, str, str | int | None]:
        if not self.text.endswith(" " + self.IO):
            raise ValueError(f"the text does not end in its answer {self.IO!r}, as this format's does")
        return self.text.removesuffix(" " + self.IO), self.IO, self.S, self.TEMPLATE_IDX


# The key that only this format has; "prompt" is in two of them.
FORMATS: dict[str, type[_Row]] = {"clean": _AutoCircuit, "metadata": _Mib, "text": _EasyTransformer, "io": _Ours}


def read_prompts(path: str | Path, tokenizer: PreTrainedTokenizerBase) -> tuple[Prompt, ...]:
    """The prompts of the file at `path`, ready for `encode` and for every variant.

    `template` numbers the groups a mean ablation may average over: one for each template label of the file and layout
    (length, and positions of the names), from 0 in the order they appear; so prompts of two files, or of a file and
    `make_prompts`, belong in two batches. A file without labels, auto-circuit's for one, is grouped by layout alone.
    Raises ValueError with file, line or row, and reason, if any prompt is refused.
    """
    path = Path(path)
    rows = list(_rows(path))
    if not rows:
        raise ValueError(f"{path}: no prompts in this file")
    schema = _schema(path, rows[0][1])
    prompts: list[Prompt] = []
    groups: dict[Any, int] = {}
    refused = []
    for place, row in rows:
        try:
            text, io, s, label = schema.model_validate(row).parts()
            prompt = _prompt(text, io, s)
            group = (label, _layout(prompt, tokenizer))
            prompts.append(replace(prompt, template=groups.setdefault(group, len(groups))))
        except ValidationError as error:
            first = error.errors()[0]
            refused.append(f"{place}: {'.'.join(map(str, first['loc']))}: {first['msg']}")
        except ValueError as error:
            refused.append(f"{place}: {error}")
    if refused:
        more = [f"and {len(refused) - SHOWN} more"] if len(refused) > SHOWN else []
        raise ValueError(
            "\n  ".join([f"{path}: {len(refused)} of {len(rows)} prompts refused", *refused[:SHOWN], *more])
        )
    return tuple(prompts)


def _rows(path: Path) -> Iterator[tuple[str, Any]]:
    """Every prompt in the file with where it stands: "row 3" of a JSON list, or "line 3" of JSON lines."""
    content = path.read_text(encoding="utf-8-sig")  # with or without a byte order mark
    try:
        whole = json.loads(content)
    except json.JSONDecodeError:
        for number, line in enumerate(content.split("\n"), start=1):
            if line.strip():
                try:
                    yield f"line {number}", json.loads(line)
                except json.JSONDecodeError as error:
                    raise ValueError(f"{path}: line {number} is not JSON ({error})") from error
        return
    if isinstance(whole, dict) and "prompts" in whole:
        whole = whole["prompts"]
    elif isinstance(whole, dict):
        yield "line 1", whole
        return
    if not isinstance(whole, list):
        raise ValueError(f"{path}: expected a list of prompts, JSON lines, or an object with 'prompts'")
    for number, row in enumerate(whole, start=1):
        yield f"row {number}", row


def _schema(path: Path, row: Any) -> type[_Row]:
    keys = list(row) if isinstance(row, dict) else []
    for key, schema in FORMATS.items():
        if key in keys:
            return schema
    raise ValueError(
        f"{path}: unknown format: its first prompt has the keys {keys}; "
        'the simplest format is {"prompt": "... to", "io": "Mary", "s": "John"}, one a line'
    )


def _prompt(text: str, io: str, s: str) -> Prompt:
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
    pattern, end = "", 0
    for (start, name), placeholder in zip(found, ("{A}", "{B}", "{S}"), strict=True):
        pattern += text[end:start] + placeholder
        end = start + len(name)
    pattern += text[end:]
    abba = order[0] == io
    return Prompt(0, pattern, "ABBA" if abba else "BABA", io=io, s1=s, s2=s, answers=(io, s))


def _layout(prompt: Prompt, tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """Positions without a start token: the first two names in order, S2, END. Raises where a name is not found."""
    positions = encode([prompt], tokenizer, prepend_bos=False).positions
    return (*sorted(int(positions[role]) for role in ("IO", "S1")), int(positions["S2"]), int(positions["END"]))
