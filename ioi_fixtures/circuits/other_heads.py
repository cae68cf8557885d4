"""Heads that a circuit file does not name, drawn by seed: the controls of its claims."""

from __future__ import annotations

from collections.abc import Collection

from ioi_fixtures.sentences.prompts import stream
from lib.instruments.addresses import Place
from lib.models.heads import Head

DRAWS = 10  # sets of other heads that a path is compared with


def random_places(places: frozenset[Place], seed: int, *, n_layers: int, n_heads: int) -> frozenset[Place]:
    """As many heads at the same positions, none of them of the circuit there: a control.

    Where a position has fewer other heads than the circuit has heads, all of them.
    """
    uniform = stream("random places", seed)
    drawn: set[Place] = set()
    for position in sorted({position for _, position in places}):
        everyone = [(Head(layer, index), position) for layer in range(n_layers) for index in range(n_heads)]
        others = [place for place in everyone if place not in places]
        wanted = len(everyone) - len(others)
        drawn |= {others.pop(int(uniform() * len(others))) for _ in range(min(wanted, len(others)))}
    return frozenset(drawn)


def other_senders(
    senders: Collection[Head], receivers: Collection[Head], at: str, places: Collection[Place], *, n_heads: int
) -> list[tuple[Head, ...]]:
    """Sets of as many heads as send, below the receivers and with no place in the circuit at that position: a control.

    Where there are fewer of those than it takes, of all heads below the receivers that do not send.
    """
    uniform = stream("other senders", 0)
    below = [Head(layer, i) for layer in range(max(receivers).layer) for i in range(n_heads)]
    outside = [head for head in below if (head, at) not in places]
    if len(outside) < len(senders):
        outside = [head for head in below if head not in senders]
    sets = []
    for _ in range(DRAWS):
        left = list(outside)
        size = min(len(senders), len(left))
        sets.append(tuple(left.pop(int(uniform() * len(left))) for _ in range(size)))
    return sets
