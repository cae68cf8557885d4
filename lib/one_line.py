"""Values that print as one line wherever they are printed, also among the arguments of a failing Hypothesis test."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hypothesis.vendor.pretty import RepresentationPrinter


class OneLine:
    """Prints as its repr. Hypothesis would print a dataclass field by field, and a model with all its weights.

    `_repr_pretty_` is IPython's protocol, which Hypothesis documents and asks first.
    """

    def _repr_pretty_(self, printer: RepresentationPrinter, cycle: bool) -> None:
        printer.text(repr(self))
