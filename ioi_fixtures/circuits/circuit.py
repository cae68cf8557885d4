"""The circuit of Wang et al. 2022 (arXiv version: 26 heads), as data: who belongs to which class, and where it acts.

Disputed: the OpenReview version of the paper has 28 heads; 9.0 was added later and 11.3 removed, so 11.3 is not here.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ioi_fixtures.sentences.prompts import stream
from lib.models.heads import Head, heads

NAME_MOVERS = heads("9.9 9.6 10.0")  # §3.1
NEGATIVE_NAME_MOVERS = heads("10.7 11.10")  # §3.1
S_INHIBITION = heads("7.3 7.9 8.6 8.10")  # §3.2
INDUCTION = heads("5.5 5.8 5.9 6.9")  # §3.3; 5.8 and 5.9 attend weakly (App. C)
DUPLICATE_TOKEN = heads("0.1 0.10 3.0")  # §3.3; 0.10 does not show on random tokens (App. H)
PREVIOUS_TOKEN = heads("2.2 4.11")  # §3.3
BACKUP_NAME_MOVERS = heads("9.0 9.7 10.1 10.2 10.6 10.10 11.2 11.9")  # §3.4

# Each class and the position at which its heads do their work; everywhere else the circuit runs on means (§4).
CIRCUIT: Mapping[str, tuple[tuple[Head, ...], str]] = MappingProxyType(
    {
        "name mover": (NAME_MOVERS, "END"),
        "negative name mover": (NEGATIVE_NAME_MOVERS, "END"),
        "S-inhibition": (S_INHIBITION, "END"),
        "induction": (INDUCTION, "S2"),
        "duplicate token": (DUPLICATE_TOKEN, "S2"),
        "previous token": (PREVIOUS_TOKEN, "S1+1"),
        "backup name mover": (BACKUP_NAME_MOVERS, "END"),
    }
)
CIRCUIT_HEADS: Mapping[Head, str] = MappingProxyType(
    {head: position for members, position in CIRCUIT.values() for head in members}
)


def neighbours_of(members: tuple[Head, ...], *, n_heads: int = 12) -> tuple[Head, ...]:
    """The heads in the layers of `members` that are in no class of the circuit: a control of equal depth."""
    layers = sorted({head.layer for head in members})
    everyone = (Head(layer, index) for layer in layers for index in range(n_heads))
    return tuple(head for head in everyone if head not in CIRCUIT_HEADS)


def random_circuit(seed: int, *, n_layers: int = 12, n_heads: int = 12) -> dict[Head, str]:
    """As many heads at the same positions as the circuit has, none of them the circuit's: a control."""
    uniform = stream("random circuit", seed)
    others = [Head(layer, index) for layer in range(n_layers) for index in range(n_heads)]
    others = [head for head in others if head not in CIRCUIT_HEADS]
    drawn = [others.pop(int(uniform() * len(others))) for _ in CIRCUIT_HEADS]
    return dict(zip(drawn, CIRCUIT_HEADS.values(), strict=True))
