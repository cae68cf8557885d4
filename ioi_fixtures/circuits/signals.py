"""What S-inhibition heads tell the name movers, taken apart: which token the subject is, and where it stood.

Wang et al. 2022, App. A, Fig. 9: the heads' output at END comes from prompts in which one signal, or both, is the
original's, somebody else's, or inverted. LD = a * position + b * token fits with original = 1, random = 0, inverted =
-1. No prompt has a random position: two names leave but two places.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from torch import Tensor

from ioi_fixtures.sentences import variants
from ioi_fixtures.sentences.prompts import Prompt

VALUES: Mapping[str, int] = MappingProxyType({"original": 1, "random": 0, "inverted": -1})
Cell = tuple[str, str]  # token signal, position signal

CELL_VARIANTS: Mapping[Cell, Callable[[tuple[Prompt, ...], int, Sequence[str]], tuple[Prompt, ...]]] = MappingProxyType(
    {
        ("original", "original"): lambda prompts, seed, names: prompts,
        ("original", "inverted"): lambda prompts, seed, names: variants.flip_order(prompts),
        ("random", "original"): lambda prompts, seed, names: variants.fresh_names(prompts, seed=seed, names=names),
        ("random", "inverted"): lambda prompts, seed, names: variants.flip_order(
            variants.fresh_names(prompts, seed=seed, names=names)
        ),
        ("inverted", "original"): lambda prompts, seed, names: variants.swap_names(prompts),
        ("inverted", "inverted"): lambda prompts, seed, names: variants.swap_s2(prompts),
    }
)


def signal_coefficient(differences: Mapping[Cell, Tensor], signal: str) -> Tensor:
    """Least-squares coefficient of the "token" or the "position" signal in each prompt's logit differences. [batch]

    The six cells are balanced, so each coefficient is a plain contrast: it does not depend on the other.
    """
    if signal not in ("token", "position"):
        raise ValueError(f"signal is {signal!r}: it is 'token' or 'position'")
    codes = {cell: VALUES[cell[signal == "position"]] for cell in differences}
    return sum(codes[cell] * differences[cell] for cell in differences) / sum(code**2 for code in codes.values())


def fit_error(differences: Mapping[Cell, Tensor]) -> Tensor:
    """How far the cells lie from a * position + b * token, as a mean over them of each one's error in size. [batch]

    An error's size is that of its mean over prompts, as in the published table of six means; each prompt counts with
    the sign that this mean has.
    """
    token, position = (signal_coefficient(differences, signal) for signal in ("token", "position"))
    errors = [
        difference - VALUES[cell[0]] * token - VALUES[cell[1]] * position for cell, difference in differences.items()
    ]
    return sum(error * error.mean().sign() for error in errors) / len(errors)
