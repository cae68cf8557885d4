"""The intact model with one thing broken: what claims about the circuit must be able to tell apart.

A mutant is a change of the table of heads, of the one of MLPs, or of both. Many leave the logit difference about as it
was (MUTANTS.md has it of each), so a check of behaviour alone passes them. `no_outside_mover_92` is the control:
nothing in the circuit is broken.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from ioi_fixtures.planted.broken.changes import OF_HEADS, OF_MLPS
from ioi_fixtures.planted.heads import INTACT, Design

__all__ = ["CONTROL", "MUTANTS", "Mutant", "broken_design"]


def broken_design(name: str) -> Design:
    """The design of a key of MUTANTS."""
    table = dict(INTACT.heads)
    if name in OF_HEADS:
        table = OF_HEADS[name](table)
    return Design(table, INTACT.mlps | OF_MLPS.get(name, {}))


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
        "nm_seek_subject": "The three name movers seek a name that is repeated.",
        "others_copy_names": "Every noise head above layer 0 writes every name of the prompt, a little.",
        "others_suppress_names": "Every noise head above layer 0 writes against every name of the prompt.",
        "extra_nm_81": "Head 8.1, outside the circuit, is a strong name mover.",
        "nm96_moved_to_95": "Head 9.5 does what 9.6 should, and 9.6 is noise.",
    },
    "test_negative_name_movers.py": {
        "neg_positive": "The negative name movers 10.7 and 11.10 write with the opposite sign.",
        "neg_removed": "The negative name movers 10.7 and 11.10 are noise.",
    },
    "test_backup_name_movers.py": {
        "backup_dead": "The six late backup name movers write nothing, so nothing makes up for a knockout.",
        "backup_always_on": "The six late backup name movers do not look away from a name already written.",
        "backups_in_layer_11": "11.2 and 11.9 do what all late backups should; those of layer 10 write nothing.",
        "scale_misfit": "Head 9.9 makes the residual stream so long that the final LayerNorm divides by more.",
    },
    "test_activation_patching.py": {
        "sinh_in_layer_4": "What S-inhibition heads do is done in layer 4, and they are noise.",
        "later_mlps_speak": "MLPs 3, 6 and 9 pass tokens on, and 10.4 writes against the repeated name they passed on.",
    },
    "test_localisation.py": {
        "first_mlp_passed_by": "Heads read the embeddings, and not what the first MLP makes of them.",
        "mlp_9_amplifies": "MLP 9 triples what name movers have written.",
    },
    "test_s_inhibition.py": {
        "sinh_73_alone": "S-inhibition head 7.3 writes what all four should; the other three write nothing.",
        "sinh_attends_s1": "S-inhibition attends to S1, led there by head 6.0, and not to S2.",
        "sinh_token_only": "S-inhibition writes no position signal.",
        "sinh_position_only": "S-inhibition writes no token signal.",
        "others_look_at_s2": "Every head of the last five layers looks at the repeated name; others write nothing.",
        "sinh73_off": "S-inhibition head 7.3 attends as before but writes nothing.",
    },
    "test_early_heads.py": {
        "ind_off": "The four induction heads are noise.",
        "dup_off": "The three duplicate token heads are noise.",
        "others_look_back": "Every noise head attends as a duplicate token or a previous token head does.",
        "others_induct": "Every noise head from layer 3 on attends as an induction head does, and writes nothing.",
        "weak_early_strong": "0.10, 5.8 and 5.9, which should attend weakly, attend strongly.",
        "prev_self": "The previous token heads attend to their own position.",
    },
    "test_weights.py": {
        "ind_by_queries": "5.5 and 6.9 read in their queries, not in their keys, which token stood before.",
    },
    "test_paths.py": {
        "ind_moved_to_60": "Head 6.0, outside the circuit, does what the four induction heads should; they are noise.",
        "ind59_off": "Induction head 5.9 is noise.",
    },
    "test_circuit.py": {
        "twins": "Each head up to the name movers has a twin outside the circuit that does the same.",
        "three_suppress_names": "5.3, 6.6 and 11.1 write against every name of the prompt, the subject twice.",
        "nm90_through_mlp": "9.0 is a strong name mover, by way of the last MLP.",
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
