"""What prints as one line: values, also among the arguments of a failing Hypothesis test, and the first few of many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hypothesis.vendor.pretty import RepresentationPrinter


def first_of(words: Sequence[str], most: int) -> str:
    """Words in a sentence, so many at the most: "a, b and 3 more"."""
    more = f" and {len(words) - most} more" if len(words) > most else ""
    return ", ".join(words[:most]) + more


def counted(count: int, noun: str) -> str:
    """So many of something: "1 head", "12 heads"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


class OneLine:
    """Prints as its repr. Hypothesis would print a dataclass field by field, and a model with all its weights.

    `_repr_pretty_` is IPython's protocol, which Hypothesis documents and asks first.
    """

    def _repr_pretty_(self, printer: RepresentationPrinter, cycle: bool) -> None:
        printer.text(repr(self))
