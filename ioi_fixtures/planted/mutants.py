"""The intact model with one thing broken: what claims about the circuit must be able to tell apart.

A mutant is a change of the table in `heads`, nothing else. "Silent" ones leave the logit difference about as it was,
so a check of behaviour alone passes them. `no_outside_mover_92` is the control: nothing in the circuit is broken.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import NamedTuple

from ioi_fixtures.planted.heads import ALWAYS, Match, Move, Wiring, duplicate_token, mover, previous_token, s_inhibition
from lib.heads import Head, heads

Table = dict[Head, Wiring]

NAME_MOVERS = heads("9.9 9.6 10.0")
NEGATIVE = heads("10.7 11.10")
LATE_BACKUPS = heads("10.1 10.2 10.6 10.10 11.2 11.9")
S_INHIBITION = heads("7.3 7.9 8.6 8.10")
INDUCTION = heads("5.5 5.8 5.9 6.9")
DUPLICATE_TOKEN = heads("0.1 0.10 3.0")
PREVIOUS_TOKEN = heads("2.2 4.11")


def broken_table(name: str, table: Mapping[Head, Wiring]) -> Table:
    """The table of a key of MUTANTS, from the intact one."""
    return _CHANGES[name](dict(table))


def _each(table: Table, which: tuple[Head, ...], change: Callable[[Wiring], Wiring]) -> Table:
    return table | {head: change(table[head]) for head in which}


def _without(table: Table, which: tuple[Head, ...]) -> Table:
    """Those heads become ordinary noise heads."""
    return {head: wiring for head, wiring in table.items() if head not in which}


def _deaf_to(wiring: Wiring, *subspaces: str) -> Wiring:
    """Queries no longer read these subspaces."""
    matches = []
    for match in wiring.matches:
        query = {name: gain for name, gain in match.query.items() if name not in subspaces}
        if query:
            matches.append(replace(match, query=query))
    return replace(wiring, matches=tuple(matches))


def _not_into(wiring: Wiring, subspace: str) -> Wiring:
    return replace(wiring, moves=tuple(move for move in wiring.moves if move.into != subspace))


def _negated(wiring: Wiring) -> Wiring:
    moves = tuple(replace(move, value={name: -gain for name, gain in move.value.items()}) for move in wiring.moves)
    return replace(wiring, moves=moves)


def _attends_to_itself(wiring: Wiring) -> Wiring:
    position, *others = wiring.matches
    return replace(wiring, matches=(replace(position, query={"position": position.query["position-1"]}), *others))


def _sinh_attends_s1(table: Table) -> Table:
    # A spare head brings S1's position to END, so S-inhibition finds S1 there and reads it where it stands.
    table[Head(6, 0)] = Wiring(
        (Match(ALWAYS, {"duplicate": 4.0, "repeated": 4.0, "name": 4.0, "sink": 9.0}),),
        (Move({"pointer": 1.0}, "spare"), Move({"position/half": 2.4}, "inhibit_position")),
    )
    for head in S_INHIBITION:
        position, token = table[head].moves
        table[head] = Wiring(
            (Match(ALWAYS, {"name": 4.0, "sink": 8.0}), Match({"spare": 5.0}, {"position/half": 1.0})),
            (replace(position, value={"position/half": position.value["pointer"]}), token),
        )
    return table


def _copies_s(wiring: Wiring) -> Wiring:
    """Seeks the positions it is told to avoid."""
    name, position, token = wiring.matches
    return replace(wiring, matches=(name, replace(position, query={"inhibit_position": 3.0}), token))


def _written_scaled(wiring: Wiring, scale: float) -> Wiring:
    """Writes `scale` times as much into "out", and reads there as if that were all of it."""
    moves = tuple(
        replace(move, value={name: scale * gain for name, gain in move.value.items()}) if move.into == "out" else move
        for move in wiring.moves
    )
    matches = tuple(
        replace(match, query={name: gain / scale if name == "out/half" else gain for name, gain in match.query.items()})
        for match in wiring.matches
    )
    return Wiring(matches, moves)


def _by_detour(wiring: Wiring) -> Wiring:
    """What it writes goes through the last MLP."""
    return replace(wiring, moves=tuple(replace(m, into="detour") if m.into == "out" else m for m in wiring.moves))


def _writers(table: Table) -> tuple[Head, ...]:
    return tuple(head for head, wiring in table.items() if any(move.into == "out" for move in wiring.moves))


def _others(table: Table, layers: range, wiring: Wiring) -> Table:
    """Heads that were noise do this."""
    return {Head(layer, index): wiring for layer in layers for index in range(12)} | table


def _others_look_back(table: Table) -> Table:
    """In one layer at a token's earlier occurrence, in another at the token before, and past the earlier occurrence."""
    table = _others(table, range(2), duplicate_token("raw", 0.5, 0.0).silent())
    table = _others(table, range(2, 5), previous_token(0.6, "unread").silent())
    return _others(table, range(5, 7), table[Head(5, 5)].silent())


def _nm96_moved(table: Table) -> Table:
    moved = table.pop(Head(9, 6))
    return table | {Head(9, 5): moved}


_CHANGES: dict[str, Callable[[Table], Table]] = {
    "nm99_silent": lambda table: _each(table, heads("9.9"), Wiring.silent),
    "nm96_copies_s": lambda table: _each(table, heads("9.6"), _copies_s),
    "nm100_negative": lambda table: _each(table, heads("10.0"), _negated),
    "others_move_names": lambda table: _others(table, range(7, 12), mover(0.6, 0.3)),
    "nm_ignore_inhibition": lambda table: _each(
        table, NAME_MOVERS, lambda wiring: _deaf_to(wiring, "inhibit_position", "inhibit_token")
    ),
    "nm96_moved_to_95": _nm96_moved,
    "neg_positive": lambda table: _each(table, NEGATIVE, _negated),
    "neg_removed": lambda table: _without(table, NEGATIVE),
    "backup_dead": lambda table: _each(table, LATE_BACKUPS, Wiring.silent),
    "backup_always_on": lambda table: _each(table, LATE_BACKUPS, lambda wiring: _deaf_to(wiring, "out/half")),
    "sinh_attends_s1": _sinh_attends_s1,
    "sinh_token_only": lambda table: _each(table, S_INHIBITION, lambda wiring: _not_into(wiring, "inhibit_position")),
    "sinh_position_only": lambda table: _each(table, S_INHIBITION, lambda wiring: _not_into(wiring, "inhibit_token")),
    "others_look_at_s2": lambda table: _others(table, range(7, 12), s_inhibition(0.9, 0.2, 0.2).silent()),
    "sinh73_off": lambda table: _each(table, heads("7.3"), Wiring.silent),
    "ind_off": lambda table: _without(table, INDUCTION),
    "ind59_off": lambda table: _without(table, heads("5.9")),
    "dup_off": lambda table: _without(table, DUPLICATE_TOKEN),
    "others_look_back": _others_look_back,
    "prev_self": lambda table: _each(table, PREVIOUS_TOKEN, _attends_to_itself),
    "extra_nm_81": lambda table: table | {Head(8, 1): mover(0.9, 2.0)},
    "half_through_mlp": lambda table: _each(table, heads("9.9"), _by_detour),
    "scale_misfit": lambda table: _each(
        table, heads("9.9"), lambda wiring: replace(wiring, moves=(wiring.moves[0], Move({"heft": 40.0}, "carried")))
    ),
    "halved": lambda table: _each(table, _writers(table), lambda wiring: _written_scaled(wiring, 0.5)),
    "no_outside_mover_92": lambda table: _each(table, heads("9.2"), Wiring.silent),
}


class Mutant(NamedTuple):
    """What is broken, and the file of the claims that name the mechanism; none for the control."""

    says: str
    family: str


CONTROL = "no_outside_mover_92"
# By the file of the claims that name the mechanism; under none, the control.
_SAYS = {
    "test_name_movers.py": {
        "nm99_silent": "Name mover 9.9 attends as before but writes nothing.",
        "nm96_copies_s": "Name mover 9.6 seeks the subject, and copies it.",
        "nm100_negative": "Name mover 10.0 attends as before and writes with the opposite sign.",
        "others_move_names": "Every head of the last five layers moves names, a little.",
        "nm_ignore_inhibition": "The three name movers do not read what S-inhibition writes.",
        "extra_nm_81": "Head 8.1, outside the circuit, is a strong name mover.",
        "nm96_moved_to_95": "Silent: head 9.5 does what 9.6 should, and 9.6 is noise.",
    },
    "test_negative_name_movers.py": {
        "neg_positive": "The negative name movers 10.7 and 11.10 write with the opposite sign.",
        "neg_removed": "The negative name movers 10.7 and 11.10 are noise.",
    },
    "test_backup_name_movers.py": {
        "backup_dead": "Silent: the six late backup name movers write nothing, so nothing makes up for a knockout.",
        "backup_always_on": "The six late backup name movers do not look away from a name already written.",
        "scale_misfit": "Head 9.9 makes the residual stream so long that the final LayerNorm divides by more.",
    },
    "test_s_inhibition.py": {
        "sinh_attends_s1": "Silent: S-inhibition attends to S1, led there by head 6.0, and not to S2.",
        "sinh_token_only": "S-inhibition writes no position signal.",
        "sinh_position_only": "S-inhibition writes no token signal.",
        "others_look_at_s2": "Every head of the last five layers looks at the repeated name; others write nothing.",
        "sinh73_off": "S-inhibition head 7.3 attends as before but writes nothing.",
    },
    "test_early_heads.py": {
        "ind_off": "The four induction heads are noise.",
        "dup_off": "The three duplicate token heads are noise.",
        "others_look_back": "Every head below layer 7 looks back as one of the early heads does, and writes nothing.",
        "prev_self": "The previous token heads attend to their own position.",
    },
    "test_paths.py": {
        "ind59_off": "Silent: induction head 5.9 is noise.",
    },
    "test_circuit.py": {
        "half_through_mlp": "What 9.9 writes, half of the answer, reaches the logits by the last MLP alone.",
    },
    "test_behaviour.py": {
        "halved": "Every head writes half as much of the answer; who does what is as it should be.",
    },
    "": {
        "no_outside_mover_92": "Control: 9.2, a weak mover outside the circuit, writes nothing; the circuit is intact.",
    },
}

MUTANTS: Mapping[str, Mutant] = MappingProxyType(
    {name: Mutant(says, family) for family, mutants in _SAYS.items() for name, says in mutants.items()}
)
