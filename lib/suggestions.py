"""What to say about a word nobody knows: the nearest known one, or all there are."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that is most like `word` (case aside); None where none is like it."""
    lowered = {one.lower(): one for one in known}
    near = difflib.get_close_matches(word.lower(), lowered, n=1)
    return lowered[near[0]] if near else None


def suggestion(word: str, known: Iterable[str]) -> str:
    """The question whether a known word was meant, where one is like `word` (case aside); else all known words."""
    known = list(known)
    near = nearest(word, known)
    return f"use one of {', '.join(known)}" if near is None else f"did you mean {near!r}?"
