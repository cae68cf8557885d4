"""Sets of heads taken out of the circuit: for minimality (one set K a head), for completeness, and the naive circuit.

Minimality asks what head v adds to C \\ K. The choice of K decides the figure, and two choices are in use: the paper's
(Wang et al. 2022, Fig. 20; the order of the backups is that of the authors' code) and the one of ARENA's material,
which the notebook this project started from uses.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ioi_fixtures.circuits.circuit import CIRCUIT, CIRCUIT_HEADS, NAME_MOVERS
from ioi_fixtures.sentences.prompts import stream
from lib.models.heads import Head, heads


def _in_order(first: tuple[Head, ...], order: str) -> dict[Head, frozenset[Head]]:
    """Each head of `order` with `first` and all that stand before it."""
    chain = heads(order)
    return {head: frozenset((*first, *chain[:i])) for i, head in enumerate(chain)}


def _class_mates(*names: str) -> dict[Head, frozenset[Head]]:
    """Each head of the classes with the other heads of its class."""
    classes = [CIRCUIT[name][0] for name in names]
    return {head: frozenset(members) - {head} for members in classes for head in members}


_SHARED = {
    **_in_order((), "9.9 10.0 9.6"),
    **_class_mates("negative name mover", "S-inhibition", "duplicate token", "previous token", "induction"),
    **{head: frozenset(heads("11.10 10.7")) for head in heads("5.8 5.9")},
}
# Wang et al. 2022, Fig. 20. 11.9 and 9.0: all name movers and backups but themselves, and the negative ones.
_ALL_MOVERS = frozenset((*NAME_MOVERS, *CIRCUIT["backup name mover"][0], *CIRCUIT["negative name mover"][0]))
PAPER_K: Mapping[Head, frozenset[Head]] = MappingProxyType(
    {
        **_SHARED,
        **_in_order(heads("9.9 10.0 9.6"), "10.10 10.6 10.2 10.1 11.2 9.7"),
        **{head: _ALL_MOVERS - {head} for head in heads("11.9 9.0")},
    }
)
# ARENA 1.4.1, K_FOR_EACH_COMPONENT: backups in the order of a table's rows, and other sets for 11.9 and 9.0.
ARENA_K: Mapping[Head, frozenset[Head]] = MappingProxyType(
    {
        **_SHARED,
        **_in_order(heads("9.9 10.0 9.6"), "11.2 10.6 10.10 10.2 9.7 10.1"),
        Head(11, 9): frozenset(heads("9.9 10.0 9.6 9.0")),
        Head(9, 0): frozenset(heads("9.9 10.0 9.6 11.9")),
    }
)

K_SETS: Mapping[str, Mapping[Head, frozenset[Head]]] = MappingProxyType({"paper": PAPER_K, "ARENA": ARENA_K})

# The circuit without negative and backup heads, and with two of each class of early heads (Easy-Transformer,
# ioi_circuit_extraction).
NAIVE_CIRCUIT: Mapping[Head, str] = MappingProxyType(
    {head: CIRCUIT_HEADS[head] for head in heads("9.6 9.9 10.0 7.3 7.9 8.6 8.10 5.5 5.9 3.0 0.10 2.2 4.11")}
)

# What is removed together to test completeness, by name.
_MOVERS = (*NAME_MOVERS, *CIRCUIT["backup name mover"][0])
COMPLETENESS_K: Mapping[str, frozenset[Head]] = MappingProxyType(
    {
        "name mover and backup": frozenset(_MOVERS),
        **{name: frozenset(members) for name, (members, _) in CIRCUIT.items() if members[0] not in _MOVERS},
    }
)

# Sets K that a greedy search found to leave circuit and model far apart: four in Wang et al. 2022, Fig. 22, and the one
# furthest apart of 26 that the authors stored (Easy-Transformer, pts/complete_name.pt).
GREEDY_K: Mapping[str, frozenset[Head]] = MappingProxyType(
    {
        members: frozenset(heads(members))
        for members in (
            "9.9 9.6 5.8 5.5 2.2",
            "9.9 11.10 10.7 8.6 5.8 4.11",
            "10.7 5.5 2.2 4.11",
            "9.9 11.10 10.7 11.2 3.0 5.8 2.2",
        )
    }
)
GREEDIEST_K: frozenset[Head] = frozenset(heads("10.7 4.11 11.10 2.2 3.0 11.2 5.9"))


def left_of_circuit(removed: frozenset[Head] | set[Head]) -> dict[Head, str]:
    """C \\ K: the circuit without `removed`, each head with its position."""
    return {head: position for head, position in CIRCUIT_HEADS.items() if head not in removed}


def random_subset(seed: int) -> frozenset[Head]:
    """A random K: each head of the circuit with probability one half (Wang et al. 2022, §4.1)."""
    uniform = stream("random knockout", seed)
    return frozenset(head for head in CIRCUIT_HEADS if uniform() < 0.5)
