"""Which subjects of two runs are compared: those of one name, or the only one of each."""

import numpy as np
import pytest

from lib.judging.baselines import compare
from lib.judging.flips import newly_failing
from lib.judging.pairing import paired
from lib.judging.verdicts import asked_of
from lib.reports.drift_words import drift_sentence
from tests.judging.test_baselines import VALUES, mean, session

CHECKPOINT = {"weights_hash": "1a2b3c4d" * 8}


def called(name, run, case=""):
    """The run, as if its subject were called that, and its claim had parameters of its own."""
    test = f"claims/test_movers.py::test_difference[{name.encode('unicode_escape').decode()}{case}]"
    subjects = [one.model_copy(update={"name": name}) for one in run.subjects]
    claims = [
        claim.model_copy(
            update={
                "test": test,
                "subject": name,
                "measurements": [one.model_copy(update={"test": test, "subject": name}) for one in claim.measurements],
            }
        )
        for claim in run.claims
    ]
    return run.model_copy(update={"subjects": subjects, "claims": claims})


def both(one, other):
    """A run of the subjects of two runs."""
    lists = {name: [*getattr(one, name), *getattr(other, name)] for name in ("subjects", "claims")}
    return one.model_copy(update=lists)


RUN = session(mean(VALUES))
OTHER_WEIGHTS = session(mean(VALUES + np.random.default_rng(5).normal(0, 1e-6, 100)), subject=CHECKPOINT)


@pytest.mark.parametrize("case", ["", "-9.9", "-step1000"])
@pytest.mark.parametrize("name", ["step1000", "größe=1 [a]"])
def test_the_only_subjects_of_two_runs_are_compared_whatever_they_are_called(name, case):
    old, new = called(name, RUN, case), called("step2000", OTHER_WEIGHTS, case)
    comparison = compare(old, new, name="kept.json")
    assert [(change.rule, change.subject) for change in comparison.changes] == [("paired", "step2000")]
    assert not comparison.drifted
    assert not comparison.notes
    assert drift_sentence(comparison) == (
        "none of 1 figures drifted, though the weights of step2000 changed: 5f3c0a9b -> 1a2b3c4d "
        f"({name} compared with step2000)"
    )
    moved = called("step2000", session(mean(VALUES + 0.1), subject=CHECKPOINT), case)
    comparison = compare(old, moved, name="kept.json")
    assert drift_sentence(comparison) == f"1 of 1 figures drifted ({name} compared with step2000)"


@pytest.mark.parametrize(
    ("test", "of_none"),
    [
        ("claims/a.py::t[step1000]", "claims/a.py::t"),
        ("claims/a.py::t[step1000-9.9]", "claims/a.py::t[9.9]"),
        ("claims/a.py::t[name mover 2.0-step1000]", "claims/a.py::t[name mover 2.0]"),
        ("claims/a.py::t", "claims/a.py::t"),
        ("claims/a.py::t[9.9-1]", "claims/a.py::t[9.9-1]"),
    ],
)
def test_a_claim_is_named_alike_wherever_its_subject_stands(test, of_none):
    assert asked_of(test, "step1000", "") == of_none
    assert asked_of(asked_of(test, "step1000", "step2000"), "step2000", "step1000") == test


def test_what_a_paired_subject_was_asked_and_no_longer_is_is_missed():
    old, new = called("step1000", RUN), called("step2000", RUN, "-9.9")
    comparison = compare(old, new, name="kept.json")
    assert comparison.appeared == [new.claims[0].test]
    assert comparison.vanished == ["claims/test_movers.py::test_difference[step2000]"]


def test_subjects_of_one_name_are_compared_with_each_other():
    one, two = called("step1000", RUN), called("step2000", OTHER_WEIGHTS)
    assert paired(one, one) is None
    assert paired(one, both(one, two)) is None
    assert paired(both(one, two), two) is None
    assert not compare(one, one, name="k").environment
    comparison = compare(one, both(one, two), name="k")
    assert "compared with" not in drift_sentence(comparison)
    assert comparison.appeared == [two.claims[0].test]
    assert comparison.notes == ["step2000 is in this run alone"]


def test_a_file_that_could_not_be_loaded_is_no_subject():
    broken = RUN.claims[0].model_copy(update={"test": "claims/test_b.py", "subject": "", "outcome": "error"})
    one, two = called("step1000", RUN), called("step2000", RUN)
    comparison = compare(one, two.model_copy(update={"claims": [*two.claims, broken]}), name="k")
    assert len(comparison.changes) == 1
    assert comparison.appeared == ["claims/test_b.py"]


def test_a_claim_of_a_paired_subject_is_known_to_fail():
    failing = RUN.model_copy(update={"claims": [RUN.claims[0].model_copy(update={"outcome": "failed"})]})
    assert newly_failing(called("step1000", failing), called("step2000", failing)) == []
    assert newly_failing(called("step1000", RUN), called("step2000", failing)) == [
        "claims/test_movers.py::test_difference[step2000]"
    ]
