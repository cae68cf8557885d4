"""Codes for tokens and positions: fixed families of unit vectors that are nearly orthogonal, so a match stands out.

Tokens: Gold codes of length 31 (R. Gold, "Optimal binary sequences for spread spectrum multiplexing", IEEE Trans. Inf.
Theory 13, 1967). Two binary sequences of maximal length, added modulo 2 at every relative shift and rolled, give 1023
vectors of +-1 whose inner products are 31 with themselves and -9, -1 or 7 with any other: exact, in integers, at once.
A token's code is two of them, so either half alone, or both together, identifies it.

Positions: cosine and sine at 30 frequencies, so "one position earlier" is a rotation. The frequencies were found by a
local search: up to a distance of 24 side lobes are below .08 (.43 up to 159), and the first 15 alone do as well.
"""

from __future__ import annotations

import numpy as np

HALF = 31  # dimensions of half a token code
TOKEN = 2 * HALF
POINTER = 30  # dimensions of half a position code: cosine and sine at 15 frequencies
POSITION = 2 * POINTER

_PERIOD = 331  # frequencies are 2 pi k / 331: a prime beyond twice the context, so no two positions coincide
_FREQUENCIES = np.array(
    [
        *(5, 13, 22, 33, 44, 57, 68, 82, 93, 107, 119, 130, 140, 150, 160),
        *(4, 13, 27, 38, 51, 61, 74, 85, 97, 107, 118, 127, 137, 146, 155),
    ]
)
_FIRST_TAPS, _SECOND_TAPS = (5, 3), (5, 3, 2, 1)  # a preferred pair: x^5+x^3+1 and x^5+x^3+x^2+x+1


def token_codes(count: int) -> np.ndarray:
    """Unit vectors for `count` tokens. Returns [count TOKEN]; each half has length 1/sqrt(2)."""
    family = _gold_codes()
    if count > len(family):
        raise ValueError(f"{count} tokens were asked for, but there are {len(family)} codes: use fewer words")
    second = family[(np.arange(count) * 346 + 7) % len(family)]  # 346 and 1023 share no factor: another order
    return np.concatenate([family[:count], second], axis=1) / np.sqrt(TOKEN)


def position_codes(count: int) -> np.ndarray:
    """Codes of positions 0 .. count - 1. Position 0 has none: it is the sink. Returns [count POSITION]."""
    angles = 2 * np.pi * np.outer(np.arange(count), _FREQUENCIES) / _PERIOD
    codes = np.stack([np.cos(angles), np.sin(angles)], axis=-1).reshape(count, POSITION) / np.sqrt(len(_FREQUENCIES))
    codes[0] = 0
    return codes


def one_earlier(dimensions: int) -> np.ndarray:
    """The rotation R with code(p) @ R = code(p - 1), for the first `dimensions` of the code. [dimensions dimensions]"""
    rotation = np.zeros((dimensions, dimensions))
    for pair, frequency in enumerate(_FREQUENCIES[: dimensions // 2]):
        angle = 2 * np.pi * frequency / _PERIOD
        block = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        rotation[2 * pair : 2 * pair + 2, 2 * pair : 2 * pair + 2] = block
    return rotation


def _gold_codes() -> np.ndarray:
    """All 1023 of length 31, as +-1. [1023 HALF]"""
    first, second = _shift_register(_FIRST_TAPS), _shift_register(_SECOND_TAPS)
    bases = [first, second] + [first ^ np.roll(second, shift) for shift in range(HALF)]
    bits = np.array([np.roll(base, shift) for base in bases for shift in range(HALF)])
    return 1 - 2 * bits


def _shift_register(taps: tuple[int, ...]) -> np.ndarray:
    """One period of the binary sequence s[n] = sum of s[n - tap], modulo 2."""
    bits = [1] * max(taps)
    while len(bits) < HALF:
        bits.append(sum(bits[-tap] for tap in taps) % 2)
    return np.array(bits)
