"""What each mutant changes, by its name: of the table of heads, of the one of MLPs, or of both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ioi_fixtures.circuits.circuit import (
    DUPLICATE_TOKEN,
    INDUCTION,
    NAME_MOVERS,
    NEGATIVE_NAME_MOVERS,
    PREVIOUS_TOKEN,
    S_INHIBITION,
)
from ioi_fixtures.planted.heads import (
    ALWAYS,
    MLPS,
    Gains,
    Match,
    Move,
    Saturate,
    Wiring,
    backup,
    duplicate_token,
    induction,
    mover,
    previous_token,
    s_inhibition,
)
from lib.models.heads import Head, heads

Table = dict[Head, Wiring]

LATE_BACKUPS = heads("10.1 10.2 10.6 10.10 11.2 11.9")
SPEAK = Move({"token": 1 / 3}, "detour")  # in an MLP: passes tokens on to where only the logits read
SINK = 5.8  # leaves about .9 of the attention to one key with a logit of 8


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


def _times(factor: float, move: Move) -> Move:
    return replace(move, value={name: factor * gain for name, gain in move.value.items()})


def _negated(wiring: Wiring) -> Wiring:
    return replace(wiring, moves=tuple(_times(-1, move) for move in wiring.moves))


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
    moves = tuple(_times(scale, move) if move.into == "out" else move for move in wiring.moves)
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


def _on_names(logits: float) -> Wiring:
    """Looks at every name in the prompt alike, and writes `logits` for it."""
    return Wiring((Match(ALWAYS, {"raw_name": 8.0, "sink": SINK}),), (Move({"token": logits}, "out"),))


def _others_look_back(table: Table) -> Table:
    """At a token's earlier occurrence, or at the token before; faintly, they write what induction heads read."""
    previous, duplicate = previous_token(0.9, "previous"), duplicate_token("raw", 0.9, 0.0)
    writes = [(Move({"token": 0.02}, into),) for into in ("previous", "previous_early")]
    addresses = (Head(layer, index) for layer in range(12) for index in range(12))
    others = {
        head: replace(duplicate if head.index % 3 == 2 else previous, moves=writes[head.index % 2])
        for head in addresses
    }
    return others | table


def _with_twins(table: Table) -> Table:
    """A head of the same layer, outside the circuit, does the same as each of these."""
    for head in (*NAME_MOVERS, *S_INHIBITION, *INDUCTION, *DUPLICATE_TOKEN, *PREVIOUS_TOKEN):
        free = (Head(head.layer, index) for index in range(12))
        table = table | {next(one for one in free if one not in table): table[head]}
    return table


def _sinh_in_layer_4(table: Table) -> Table:
    """Before induction: the duplicate token heads have told S2 by then where the subject stood, but more faintly."""
    for head in S_INHIBITION:
        wiring = table.pop(head)
        [match], (position, token) = wiring.matches, wiring.moves
        key = {"duplicate": 7.1} | {name: gain for name, gain in match.key.items() if name != "repeated"}
        position = replace(position, value=position.value | {"pointer": 2.8 * position.value["pointer"]})
        table[Head(4, head.index)] = Wiring((replace(match, key=key),), (position, token))
    return table


def _by_one(table: Table) -> Table:
    """7.3, which writes a fifth of what all four S-inhibition heads do, writes all of it."""
    one, *others = S_INHIBITION
    moves = tuple(_times(5, move) for move in table[one].moves)
    return _each(table, tuple(others), Wiring.silent) | {one: replace(table[one], moves=moves)}


def _by_queries(wiring: Wiring) -> Wiring:
    """What is looked for in keys is looked for in queries, and the other way round."""
    match, sink = wiring.matches
    return replace(wiring, matches=(Match(match.key, match.query), sink))


def _reads_raw(wiring: Wiring) -> Wiring:
    """Reads what the embeddings say of the token, not what the first MLP makes of it."""
    names = {"token": "raw", "token/half": "raw/half", "name": "raw_name"}

    def raw(gains: Gains) -> Gains:
        return {names.get(name, name): gain for name, gain in gains.items()}

    matches = [Match(raw(match.query), raw(match.key)) for match in wiring.matches]
    return Wiring(tuple(matches), tuple(replace(move, value=raw(move.value)) for move in wiring.moves))


def _uninhibited(wiring: Wiring) -> Wiring:
    return _deaf_to(wiring, "inhibit_position", "inhibit_token")


def _seeks_repeated(wiring: Wiring) -> Wiring:
    """Not inhibited, and drawn to a repeated name as much as it should keep off one."""
    wiring = _uninhibited(wiring)
    matches = [
        replace(match, key={name: -gain if name == "repeated" else gain for name, gain in match.key.items()})
        for match in wiring.matches
    ]
    return replace(wiring, matches=tuple(matches))


def _nm96_moved(table: Table) -> Table:
    moved = table.pop(Head(9, 6))
    return table | {Head(9, 5): moved}


OF_HEADS: dict[str, Callable[[Table], Table]] = {
    "nm99_silent": lambda table: _each(table, heads("9.9"), Wiring.silent),
    "nm96_copies_s": lambda table: _each(table, heads("9.6"), _copies_s),
    "nm100_negative": lambda table: _each(table, heads("10.0"), _negated),
    "others_move_names": lambda table: _others(table, range(7, 12), mover(0.6, 0.3)),
    "nm_ignore_inhibition": lambda table: _each(table, NAME_MOVERS, _uninhibited),
    "nm_seek_subject": lambda table: _each(table, NAME_MOVERS, _seeks_repeated),
    "others_copy_names": lambda table: _others(table, range(1, 12), _on_names(0.07)),
    "others_suppress_names": lambda table: _others(table, range(1, 12), _on_names(-0.3)),
    "three_suppress_names": lambda table: table | dict.fromkeys(heads("5.3 6.6 11.1"), _on_names(-8.0)),
    "nm96_moved_to_95": _nm96_moved,
    "neg_positive": lambda table: _each(table, NEGATIVE_NAME_MOVERS, _negated),
    "neg_removed": lambda table: _without(table, NEGATIVE_NAME_MOVERS),
    "backup_dead": lambda table: _each(table, LATE_BACKUPS, Wiring.silent),
    "backup_always_on": lambda table: _each(table, LATE_BACKUPS, lambda wiring: _deaf_to(wiring, "out/half")),
    "nm90_through_mlp": lambda table: table | {Head(9, 0): _by_detour(mover(0.9, 2.0))},
    "backups_in_layer_11": lambda table: (
        _each(table, heads("10.1 10.2 10.6 10.10"), Wiring.silent)
        | dict.fromkeys(heads("11.2 11.9"), backup(0.9, 4.0, written=-0.5))
    ),
    "sinh_in_layer_4": _sinh_in_layer_4,
    "sinh_73_alone": _by_one,
    "sinh_attends_s1": _sinh_attends_s1,
    "sinh_token_only": lambda table: _each(table, S_INHIBITION, lambda wiring: _not_into(wiring, "inhibit_position")),
    "sinh_position_only": lambda table: _each(table, S_INHIBITION, lambda wiring: _not_into(wiring, "inhibit_token")),
    "others_look_at_s2": lambda table: _others(table, range(7, 12), s_inhibition(0.9, 0.2, 0.2).silent()),
    "sinh73_off": lambda table: _each(table, heads("7.3"), Wiring.silent),
    "ind_off": lambda table: _without(table, INDUCTION),
    "ind59_off": lambda table: _without(table, heads("5.9")),
    "ind_by_queries": lambda table: _each(table, heads("5.5 6.9"), _by_queries),
    "weak_early_strong": lambda table: (
        table
        | {Head(0, 10): duplicate_token("raw", 0.6, 0.1)}
        | {head: induction(0.9, 0.14, early=0.4, late=11.4) for head in heads("5.8 5.9")}
    ),
    "ind_moved_to_60": lambda table: (
        _without(table, INDUCTION) | {Head(6, 0): induction(0.92, 0.69, early=11.4, late=0.4)}
    ),
    "others_induct": lambda table: _others(table, range(3, 12), table[Head(6, 9)].silent()),
    "twins": _with_twins,
    "dup_off": lambda table: _without(table, DUPLICATE_TOKEN),
    "others_look_back": _others_look_back,
    "prev_self": lambda table: _each(table, PREVIOUS_TOKEN, _attends_to_itself),
    "extra_nm_81": lambda table: table | {Head(8, 1): mover(0.9, 2.0)},
    "half_through_mlp": lambda table: _each(table, heads("9.9"), _by_detour),
    "scale_misfit": lambda table: _each(
        table, heads("9.9"), lambda wiring: replace(wiring, moves=(wiring.moves[0], Move({"heft": 120.0}, "carried")))
    ),
    "first_mlp_passed_by": lambda table: _each(table, tuple(table), _reads_raw),
    "later_mlps_speak": lambda table: (
        table
        | {
            Head(10, 4): Wiring(
                (Match(ALWAYS, {"repeated": 4.0, "name": 4.0, "sink": SINK}),), (Move({"detour": -6.0}, "out"),)
            )
        }
    ),
    "halved": lambda table: _each(table, _writers(table), lambda wiring: _written_scaled(wiring, 0.5)),
    "no_outside_mover_92": lambda table: _each(table, heads("9.2"), Wiring.silent),
}

OF_MLPS: dict[str, dict[int, tuple[Move | Saturate, ...]]] = {
    "later_mlps_speak": {3: (*MLPS[3], SPEAK), 6: (*MLPS[6], SPEAK), 9: (SPEAK,)},  # 9: no room for both
    "mlp_9_amplifies": {9: (Move({"out": 2.0}, "out"),)},
}
