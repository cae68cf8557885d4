"""Where things are kept in the residual stream: named subspaces of a fixed random basis, orthogonal to one another.

Every subspace is orthogonal to the all-ones vector, so centring (LayerNorm's, or a library's) does nothing to it.
Content is measured in natural units: 1 is "present", a code has length 1. `length` is how long one unit is as a vector
of the residual stream; reading divides by it, writing multiplies.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ioi_fixtures.planted import codes

D_MODEL = 768
BALLAST = (
    12.0  # length of the constant part, which keeps the LayerNorm's scale roughly where the reading weights expect
)

# name: (dimensions, length of one unit). Written by; content.
SUBSPACES = {
    "ballast": (1, BALLAST),  # position embedding; 1 everywhere, so whatever reads it reads a constant
    "sink": (1, 3.0),  # position embedding; 1 at position 0 alone
    "raw": (codes.TOKEN, 1.0),  # token embedding; the token's code
    "raw_name": (1, 1.0),  # token embedding; how much of a name it is
    "heft": (1, 1.0),  # token embedding; varies from name to name, moved to END to vary the LayerNorm's scale there
    "position": (codes.POSITION, 1.0),  # position embedding; the position's code, zero at position 0
    "token": (codes.TOKEN, 1.0),  # MLP 0; raw, moved, zero at position 0
    "name": (1, 1.0),  # MLP 0; raw_name, moved, zero at position 0
    "previous": (codes.TOKEN, 1.0),  # head 4.11; code of the token before
    "previous_early": (codes.TOKEN, 1.0),  # head 2.2; the same
    "pointer": (codes.POINTER, 1.0),  # duplicate token and induction heads; position of the earlier occurrence
    "duplicate": (1, 1.0),  # the same heads; 1 where a token has occurred before
    "repeated": (1, 1.0),  # MLPs 3 to 6; duplicate, saturated
    "inhibit_position": (codes.POINTER, 1.5),  # S-inhibition heads; the positions not to attend to
    "inhibit_token": (codes.HALF, 1.0),  # S-inhibition heads; half the code of the token not to attend to
    "out": (codes.TOKEN, 0.25),  # name movers of every kind; a token's code times its logit. The unembedding reads it
    "detour": (codes.TOKEN, 0.25),  # nothing, but for mutants; MLP 11 moves it to "out"
    "carried": (1, 1.0),  # name movers; heft, which nobody reads
    "unread": (codes.POINTER, 1.0),  # head 0.5; what a duplicate token head outside the circuit writes
    "spare": (codes.POINTER, 1.0),  # nothing, but for mutants
    "growth": (1, 1.0),  # MLP biases; makes the norm grow from layer to layer
    "junk": (100, 1.0),  # token embedding; noise, different for every token
}


@dataclass(frozen=True)
class Layout:
    """The subspaces as matrices. `basis` is [D_MODEL, D_MODEL - 1], with orthonormal columns orthogonal to all-ones."""

    basis: np.ndarray

    @classmethod
    def random(cls, rng: np.random.Generator) -> Layout:
        """A layout in general position: an orthonormal basis from a seeded random matrix."""
        columns = rng.random((D_MODEL, D_MODEL)) - 0.5
        columns[:, 0] = 1
        q, r = np.linalg.qr(columns)
        q = q * np.sign(np.diag(r))  # the sign is the linear algebra library's choice: settle it
        return cls(np.round(q[:, 1:] * 2.0**24) / 2.0**24)  # below this grid libraries may differ

    @cached_property
    def _starts(self) -> dict[str, int]:
        ends = np.cumsum([dimensions for dimensions, _ in SUBSPACES.values()])
        return dict(zip(SUBSPACES, [0, *ends[:-1].tolist()], strict=True))

    def _columns(self, name: str) -> np.ndarray:
        start = self._starts[name]
        return self.basis[:, start : start + SUBSPACES[name][0]]

    def scatter(self, noise: np.ndarray) -> np.ndarray:
        """Noise to write anywhere, but faint where something is kept. [... D_MODEL - 1] -> D_MODEL

        What noise heads, MLPs and biases write there adds up to an offset, another one for every seed, which name
        movers take for inhibition. With 0.2 of the noise there, 9 models of 12 failed a claim.
        """
        kept = sum(dimensions for dimensions, _ in SUBSPACES.values())
        return (noise * np.where(np.arange(D_MODEL - 1) < kept, 0.03, 1.0)) @ self.basis.T

    def write(self, name: str) -> np.ndarray:
        """Matrix that puts content into a subspace. [dimensions D_MODEL]"""
        return self._columns(name).T * SUBSPACES[name][1]

    def read(self, name: str) -> np.ndarray:
        """Matrix that takes content out of a subspace. [D_MODEL dimensions]

        "token/half" and "position/half" are the first half of a code, rescaled to unit length; "position-1" and
        "position/half-1" are the code rotated to one position earlier.
        """
        whole, _, back = name.partition("-")
        whole, _, half = whole.partition("/")
        matrix = self._columns(whole) / SUBSPACES[whole][1]
        if half:
            matrix = matrix[:, : codes.HALF if whole in ("token", "raw", "out") else codes.POINTER] * np.sqrt(2)
        return matrix @ codes.one_earlier(matrix.shape[1]) if back else matrix
