"""Published figures are what their sources give, in the unit measured here, computed again from the sources' numbers.

The numbers below are as printed or stored there.
"""

import re

import pytest

from ioi_fixtures.published import FOLDER
from lib.judging.references import read_references

REFERENCES = read_references(FOLDER)

CLEAN, ABC = 2.8052, -0.7699  # ARENA's logit differences
ARENA = (CLEAN - ABC) / CLEAN  # from its unit, (patched - clean) / (clean - ABC), to a share of the logit difference
DEMO = 3.552  # TransformerLens' Exploratory Analysis demo: the clean logit difference
PAPER = 3.56  # Wang et al. 2022
PYVENE = 3.7563

# The authors' stored data: F(C \\ K) and F(M \\ K) for K empty and each class.
WHOLE_C, WHOLE_M = 2.838, 3.302
CLASSES = {
    "name mover and backup": (0.930, 1.529),
    "negative": (4.267, 5.620),
    "S-inhibition": (0.227, 0.297),
    "induction": (1.035, 1.571),
    "duplicate": (0.724, 1.515),
    "previous": (1.517, 2.900),
}
GAPS = sorted((model - circuit) / WHOLE_M for circuit, model in CLASSES.values())
CHANGES = sorted(abs(circuit - WHOLE_C) / WHOLE_M for circuit, _ in CLASSES.values())

DERIVED = {
    "activation-patching/name-mover-query": [0.279],
    "backup/9.9 zero-ablated": [2.917 / DEMO],
    "backup/9.9 mean-ablated": [2.6290 / CLEAN],
    "backup/all name movers mean-ablated": [0.95, 3.329 / WHOLE_M],
    "backup/beyond-naive, 9.9 zero-ablated": [(2.917 - (DEMO - 2.986)) / DEMO],
    "backup/beyond-naive, 9.9 mean-ablated": [(2.6290 - 1.0966) / CLEAN],
    "circuit/faithfulness-resampled": [3.24 / 4.11],
    "circuit/naive-faithfulness": [2.862 / WHOLE_M],
    "circuit/incompleteness": [GAPS[0], GAPS[-1]],
    "circuit/random-incompleteness": [0.450 / WHOLE_M],
    "circuit-file/class-needed": [CHANGES[0], CHANGES[-1]],
    "localisation/lens-after-layer-9": [5.143 / DEMO],
    "minimality/raises": [(4.07 - 3.13) / PAPER, (4.07 - 3.27) / PAPER],
    "minimality/disputed": [(2.11 - 1.91) / PAPER],
    "paths/9.9-to-logits": [1.4911 / PYVENE - 1],
    "paths/9.6-to-logits": [2.7914 / PYVENE - 1],
    "paths/10.0-to-logits": [3.1255 / PYVENE - 1],
    "paths/10.7-to-logits": [5.1090 / PYVENE - 1],
    "paths/11.10-to-logits": [4.5615 / PYVENE - 1],
    "paths/previous-token-heads-to-induction-keys": [-0.31 * ARENA],
}


def is_rounded(value, computed):
    """Whether `value` is `computed` to as many decimals as it has, and two at least."""
    return round(computed, max(2, len(repr(value).partition(".")[2]))) == value


@pytest.mark.parametrize("id", DERIVED)
def test_a_derived_value_is_what_the_sources_numbers_give(id):
    assert len(REFERENCES[id].value) == len(DERIVED[id])
    for value, computed in zip(REFERENCES[id].value, DERIVED[id], strict=True):
        assert is_rounded(value, computed), computed


def test_a_value_in_another_unit_or_of_another_class_is_seen():
    assert not is_rounded(-0.31, -0.31 * ARENA)
    assert not is_rounded(0.0, GAPS[0])
    assert is_rounded(0.02, GAPS[0])


@pytest.mark.parametrize(
    ("id", "key", "percent"),
    [
        ("paths/previous-token-heads-super-additive", "says", (31, 3, 15)),
        ("paths/other-heads-to-induction-keys", "why", (15,)),
        ("paths/values-over-keys", "why", (5,)),
    ],
)
def test_percentages_in_arenas_unit_stand_beside_their_share_of_the_logit_difference(id, key, percent):
    text = getattr(REFERENCES[id], key)
    for number in percent:
        assert f"{number}%" in text
        assert f"{number * ARENA:.1f}%" in text


def test_class_gaps_and_changes_are_the_stored_ones_in_both_families():
    assert REFERENCES["circuit-file/incompleteness"].says == REFERENCES["circuit/incompleteness"].says
    for gap in GAPS:
        assert f"{gap * WHOLE_M:.2f}" in REFERENCES["circuit/incompleteness"].source


def test_whatever_a_text_refers_to_exists():
    """`how` and `why` point to other entries, as in "as circuit/faithfulness"."""
    families = {id.partition("/")[0] for id in REFERENCES}
    named = re.compile(rf"(?<![\w/])(?:{'|'.join(map(re.escape, families))})/[\w.-]*\w")
    for reference in REFERENCES.values():
        for id in named.findall(f"{reference.how} {reference.why}"):
            assert any(known == id or known.startswith(f"{id} ") for known in REFERENCES), f"{reference.id}: {id}"


@pytest.mark.parametrize("score", ["copy", "previous-token", "duplicate-token", "induction"])
def test_a_score_is_defined_once_where_the_report_shows_it(score):
    assert len([one for one in REFERENCES.values() if f"the {score} score: " in one.how]) == 1


def test_whatever_is_about_a_score_defines_it_or_says_where_it_is_defined():
    about = [one for one in REFERENCES.values() if re.search("copy-score|random-tokens|head/[a-z]+-score", one.id)]
    assert len(about) > 15
    for one in about:
        assert " score: " in one.how or re.match(r"(as|mean of) [\w-]+/", one.how), one.id
