"""What to say about a word nobody knows: the nearest known one, or all there are."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def suggestion(word: str, known: Iterable[str]) -> str:
    """The question whether a known word was meant, where one is like `word` (case aside); else all known words."""
    lowered = {one.lower(): one for one in known}
    near = difflib.get_close_matches(word.lower(), lowered, n=1)
    return f"did you mean {lowered[near[0]]!r}?" if near else f"use one of {', '.join(lowered.values())}"
