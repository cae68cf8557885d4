"""The rows of a file of prompts, whatever its syntax: JSON, JSON lines, or CSV with a header.

A file is UTF-8, with or without a byte order mark; lines may end as on Windows and may be blank. Columns that pandas
adds for its index are dropped. What the rows mean is not known here: see `file_formats`.
"""

from __future__ import annotations

import ast
import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

INDEX = re.compile(r"|index|Unnamed: \d+|__index_level_\d+__")  # what pandas calls the index it writes out
DELIMITERS = ",;\t"


def read_rows(path: Path) -> list[tuple[str, Any]]:
    """Every row with where it stands: "row 3" of a JSON list, or "line 3" of JSON lines or CSV.

    Raises ValueError with file and line for what is not UTF-8, not JSON, or not as wide as its header.
    """
    content = _text(path)
    try:
        whole = json.loads(content)
    except json.JSONDecodeError:
        is_json = content.lstrip()[:1] in ("", "{", "[")
        rows = _json_lines(path, content) if is_json else _csv(path, content)
    else:
        rows = _json(path, whole)
    return [(place, _without_index(row)) for place, row in rows]


def _text(path: Path) -> str:
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ValueError(
            f"{path}: line {line} is not UTF-8 text (byte 0x{content[error.start]:02x}): save the file as UTF-8, "
            "as JSON lines or CSV"
        ) from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _json(path: Path, whole: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(whole, dict) and "prompts" in whole:
        whole = whole["prompts"]
    elif isinstance(whole, dict):
        yield "line 1", whole
        return
    if not isinstance(whole, list):
        raise ValueError(f"{path}: expected a list of prompts, JSON lines, CSV, or an object with 'prompts'")
    for number, row in enumerate(whole, start=1):
        yield f"row {number}", row


def _json_lines(path: Path, content: str) -> Iterator[tuple[str, Any]]:
    for number, line in enumerate(content.split("\n"), start=1):
        if line.strip():
            try:
                yield f"line {number}", json.loads(line)
            except json.JSONDecodeError as error:
                raise ValueError(f"{path}: line {number} is not JSON ({error})") from error


def _csv(path: Path, content: str) -> Iterator[tuple[str, dict[str, Any]]]:
    header = content.lstrip("\n").partition("\n")[0]
    reader = csv.reader(io.StringIO(content), delimiter=max(DELIMITERS, key=header.count), strict=True)
    names: list[str] = []
    number = 1
    try:
        for cells in reader:
            if not names:
                names = [cell.strip() for cell in cells]
            elif any(cells):
                if len(cells) != len(names):
                    raise ValueError(f"{path}: line {number} has {len(cells)} cells, but the header has {len(names)}")
                yield f"line {number}", _nested(dict(zip(names, map(_cell, cells), strict=True)))
            number = reader.line_num + 1
    except csv.Error as error:
        raise ValueError(f"{path}: line {number} is not CSV ({error})") from error


def _cell(text: str) -> Any:
    """A cell as it stands, or the list or the object that is written in it, in JSON or as Python prints it."""
    if text[:1] not in ("[", "{"):
        return text
    for read in (json.loads, ast.literal_eval):
        try:
            return read(text)
        except (ValueError, SyntaxError):
            continue
    return text


def _nested(row: dict[str, Any]) -> dict[str, Any]:
    """{"metadata.subject": x}, as pandas flattens objects, as {"metadata": {"subject": x}}."""
    nested: dict[str, Any] = {}
    for name, cell in row.items():
        outer, dot, inner = name.partition(".")
        if dot:
            nested.setdefault(outer, {})[inner] = cell
        elif cell != "":  # an empty cell is a key that the row does not have
            nested[name] = cell
    return nested


def _without_index(row: Any) -> Any:
    return {key: value for key, value in row.items() if not INDEX.fullmatch(key)} if isinstance(row, dict) else row
