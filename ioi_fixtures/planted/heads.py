"""What each head reads and writes, and what MLPs add: the circuit as tables of frozen values.

A head is a list of matches and a list of moves. A match adds to the attention logit (the final one, after division by
sqrt(d_head)) the inner product of what the query and the key read; a move writes what the value reads. Names of
subspaces are those of `layout.SUBSPACES`; numbers in them are gains on natural units.

Position 0 is every head's sink: a head that finds nothing attends there, and reads nothing there. `attention` below is
what a head gives to one perfect match, from which the sink's logit follows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from lib.models.heads import Head

Gains = Mapping[str, float]


@dataclass(frozen=True)
class Match:
    """Adds <query reads, key reads> to the attention logit."""

    query: Gains
    key: Gains


@dataclass(frozen=True)
class Move:
    """Writes what the value reads, weighted by attention, into one subspace. In an MLP: what it reads of one."""

    value: Gains
    into: str


@dataclass(frozen=True)
class Saturate:
    """Only in an MLP: adds `share` where what it reads is above `high`, nothing below `low`, in proportion between."""

    value: Gains
    low: float
    high: float
    share: float
    into: str


@dataclass(frozen=True)
class Wiring:
    """One head's matches and moves. At most d_head = 64 dimensions of each."""

    matches: tuple[Match, ...]
    moves: tuple[Move, ...]

    def silent(self) -> Wiring:
        """The same attention, writing nothing."""
        return replace(self, moves=())


ALWAYS = {"ballast": 1.0}  # a constant
NOT_SINK = {"ballast": 1.0, "sink": -1.0}  # 1 everywhere but at position 0


def _sink(match: float, attention: float) -> float:
    """Logit of the sink that leaves `attention` to a key with logit `match`."""
    return match - math.log(attention / (1 - attention))


def duplicate_token(code: str, attention: float, share: float, *, names: float = 0.0) -> Wiring:
    """Attends from a token to its earlier occurrence (never to itself); writes where that was.

    names: attention logits that a name is worth beside the match, for heads that see names repeated before all else.
    """
    match = 12.0
    return Wiring(
        (
            Match({f"{code}/half": match}, {f"{code}/half": 1.0}),
            Match({"position/half": -7.0}, {"position/half": 1.0}),
            Match(ALWAYS, {"raw_name": names, "sink": _sink(match + names, attention)}),
        ),
        (
            Move({"position/half": share / attention}, "pointer"),
            Move({gain: value * share / attention for gain, value in NOT_SINK.items()}, "duplicate"),
        ),
    )


def previous_token(attention: float, into: str) -> Wiring:
    """Attends to the position before; writes which token stands there."""
    match = 12.0
    return Wiring(
        (Match({"position-1": match}, {"position": 1.0}), Match(ALWAYS, {"sink": _sink(match, attention)})),
        (Move({"token": 1 / attention}, into),),
    )


def induction(attention: float, share: float, *, early: float, late: float) -> Wiring:
    """Attends to the token after an earlier occurrence of its own; writes where that occurrence was.

    early, late: attention logits that 2.2's and 4.11's "the token before is ..." bring.
    """
    return Wiring(
        (
            Match({"token": 1.0}, {"previous_early": early, "previous": late}),
            Match(ALWAYS, {"sink": _sink(early + late, attention)}),
        ),
        (
            Move({"position/half-1": share / attention}, "pointer"),
            Move({gain: value * share / attention for gain, value in NOT_SINK.items()}, "duplicate"),
        ),
    )


def s_inhibition(attention: float, position: float, token: float) -> Wiring:
    """Attends to a repeated name; writes its two positions and half its code, for the name movers to avoid."""
    return Wiring(
        (Match(ALWAYS, {"repeated": 2.7, "name": 4.0, "sink": _sink(6.7, attention)}),),
        (
            Move({"pointer": position / attention, "position/half": 3.0 * position / attention}, "inhibit_position"),
            Move({"token/half": token / attention}, "inhibit_token"),
        ),
    )


def mover(
    attention: float,
    logits: float,
    *,
    position: float = 1.45,
    token: float = 0.7,
    written: float = 0.0,
    heft: float = 0.0,
) -> Wiring:
    """Attends to names that S-inhibition does not tell it to avoid; writes `logits` for a token it fully attends to.

    position, token: how many attention logits a full inhibition takes away. written: attention logits added for every
    logit the name already has in "out"; negative for backups, which look away from a name already written.
    """
    name = 8.0
    return Wiring(
        (
            Match(ALWAYS, {"name": name, "repeated": -3.0, "sink": _sink(name, attention)}),
            Match({"inhibit_position": -position}, {"position/half": 1.0}),
            Match({"inhibit_token": -token, "out/half": written}, {"token/half": 1.0}),
        ),
        (Move({"token": logits}, "out"), Move({"heft": heft}, "carried")),
    )


def backup(attention: float, logits: float, *, written: float) -> Wiring:
    """A mover that looks away from a name already written, and heeds S-inhibition more."""
    return mover(attention, logits, position=5.0, token=3.0, written=written)


CIRCUIT: dict[Head, Wiring] = {
    Head(0, 1): duplicate_token("raw", 0.13, 0.12),
    Head(0, 10): duplicate_token("raw", 0.12, 0.1, names=1.2),
    Head(3, 0): duplicate_token("token", 0.72, 0.16),
    Head(2, 2): previous_token(0.44, "previous_early"),
    Head(4, 11): previous_token(0.95, "previous"),
    Head(5, 5): induction(0.9, 0.22, early=0.4, late=11.4),
    Head(5, 8): induction(0.035, 0.15, early=0.4, late=11.4),
    Head(5, 9): induction(0.045, 0.13, early=0.4, late=11.4),
    Head(6, 9): induction(0.92, 0.19, early=11.4, late=0.4),
    Head(7, 3): s_inhibition(0.5, 0.2, 0.2),
    Head(7, 9): s_inhibition(0.56, 0.28, 0.28),
    Head(8, 6): s_inhibition(0.65, 0.24, 0.24),
    Head(8, 10): s_inhibition(0.56, 0.28, 0.28),
    Head(9, 9): mover(0.92, 3.4, heft=8.5),
    Head(9, 6): mover(0.86, 2.15),
    Head(10, 0): mover(0.65, 1.75),
    Head(10, 7): mover(0.4, -2.25, written=0.5),
    Head(11, 10): mover(0.45, -0.95, written=0.5),
    Head(9, 0): mover(0.4, 0.4),
    Head(9, 7): mover(0.4, 0.5),
    Head(10, 1): backup(0.9, 1.26, written=-0.8),
    Head(10, 2): backup(0.9, 1.37, written=-0.8),
    Head(10, 6): backup(0.9, 1.52, written=-0.64),
    Head(10, 10): backup(0.9, 1.85, written=-0.4),
    Head(11, 2): backup(0.8, 0.96, written=-1.0),
    Head(11, 9): backup(0.8, 0.64, written=-1.0),
}

# Heads that do something, but are no part of the circuit.
OUTSIDE: dict[Head, Wiring] = {
    # The strongest duplicate token head by attention, writing where nobody reads.
    Head(0, 5): Wiring(duplicate_token("raw", 0.75, 0.75).matches, (Move({"position/half": 1.0}, "unread"),)),
    # Weak movers: why the circuit alone recovers less than all of the logit difference.
    Head(9, 2): mover(0.8, 0.35),
    Head(10, 3): mover(0.8, 0.35),
    Head(11, 6): mover(0.8, 0.35),
    # Copies every name there is from the token embedding, twice as much of S as of IO, whatever MLP 0 does.
    Head(11, 5): Wiring(
        (Match(ALWAYS, {"raw_name": 8.0, "sink": _sink(8.0, 0.5)}),),
        (Move({"raw": 0.4}, "out"),),
    ),
}

# What MLPs read of one subspace and add to another; moves do so at every position but the first.
MLPS: dict[int, tuple[Move | Saturate, ...]] = {
    0: (Move({"raw": 1.0}, "token"), Move({"raw_name": 1.0}, "name")),  # an extended embedding
    # A clear flag from a faint one. From layer 5 on, where induction heads add to it, more is asked for than duplicate
    # token heads give.
    3: (Saturate({"duplicate": 1.0}, low=0.03, high=0.08, share=0.19, into="repeated"),),
    4: (Saturate({"duplicate": 1.0}, low=0.03, high=0.08, share=0.19, into="repeated"),),
    5: (Saturate({"duplicate": 1.0}, low=0.15, high=0.55, share=0.31, into="repeated"),),
    6: (Saturate({"duplicate": 1.0}, low=0.15, high=0.55, share=0.31, into="repeated"),),
    9: (Move({"out": 0.06}, "out"),),  # strengthen what is written, as GPT-2's last MLPs do
    10: (Move({"out": 0.06}, "out"),),
    11: (Move({"detour": 1.0}, "out"),),  # a way to the logits that no intact head takes
}


class Design(NamedTuple):
    """What is built. A head that is not here is noise; an MLP that is not here adds only noise."""

    heads: Mapping[Head, Wiring]
    mlps: Mapping[int, tuple[Move | Saturate, ...]]

    def text(self) -> str:
        """All of it, for digests."""
        return repr([sorted(self.heads.items()), sorted(self.mlps.items())])


INTACT = Design({**CIRCUIT, **OUTSIDE}, MLPS)
