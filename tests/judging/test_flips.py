"""Which verdicts that move are drift, and which claims are known to fail."""

import pytest

from lib.judging.baselines import compare
from lib.judging.flips import newly_failing
from lib.judging.verdicts import standing
from lib.reports.drift_words import drift_sentence
from tests.judging.test_baselines import TEST, VALUES, mean, session

AROUND_NOTHING = VALUES - VALUES.mean()  # an interval of 0.04 to either side; the band is 3.3 to 3.8
OUTCOMES = {
    "holds": (mean(AROUND_NOTHING + 3.36), "passed"),
    "inconclusive": (mean(AROUND_NOTHING + 3.32), "failed"),
    "fails": (mean(AROUND_NOTHING + 1), "failed"),
    "error": (mean(VALUES), "error"),
    "skipped": (mean(VALUES), "skipped"),
}


def run(stands, **subject):
    """A run whose claim came out like that."""
    estimate, outcome = OUTCOMES[stands]
    made = session(estimate, subject=subject)
    made = made.model_copy(update={"claims": [made.claims[0].model_copy(update={"outcome": outcome})]})
    assert standing(made.claims[0]) == stands
    return made


@pytest.mark.parametrize("others", [{"prompts_hash": "two"}, {"seed": 1}], ids=str)
@pytest.mark.parametrize(("then", "now"), [("holds", "inconclusive"), ("inconclusive", "holds")])
def test_other_prompts_may_decide_what_the_first_left_open_or_leave_open_what_they_decided(then, now, others):
    comparison = compare(run(then), run(now, **others), name="k")
    assert (comparison.drifted, comparison.flips) == (False, [])
    assert drift_sentence(comparison) == "none of 1 figures drifted"
    assert comparison.notes == [f"It is so. {then} -> {now}, as other prompts may have it: no drift. {TEST}"]


@pytest.mark.parametrize(("then", "now"), [("holds", "inconclusive"), ("inconclusive", "holds")])
def test_on_the_same_prompts_it_is_drift(then, now):
    for changed in ({}, {"weights_hash": "other"}):
        comparison = compare(run(then), run(now, **changed), name="k")
        assert [(flip.old, flip.new) for flip in comparison.flips] == [(then, now)]


@pytest.mark.parametrize("other", ["fails", "error", "skipped"])
@pytest.mark.parametrize("one", ["holds", "inconclusive"])
def test_any_other_verdict_that_moves_is_drift_on_any_prompts(one, other):
    for then, now in ((one, other), (other, one)):
        assert len(compare(run(then), run(now, prompts_hash="two"), name="k").flips) == 1


def test_where_one_run_does_not_say_its_prompts_they_are_not_taken_for_others():
    new = run("inconclusive", prompts_hash="two").model_copy(update={"subjects": []})
    assert compare(run("holds"), new, name="k").flips


@pytest.mark.parametrize("now", OUTCOMES)
@pytest.mark.parametrize("then", OUTCOMES)
def test_a_claim_is_known_to_fail_where_it_ran_and_did_not_hold_then_and_now(then, now):
    bad = ("fails", "inconclusive")
    known = now in ("holds", "skipped") or (now in bad and then in bad)
    assert newly_failing(run(then), run(now)) == ([] if known else [TEST])


def test_a_claim_that_the_kept_run_lacks_is_not_known_to_fail():
    old = run("fails").model_copy(update={"claims": [], "selection": "-k x"})
    assert newly_failing(old, run("fails")) == [TEST]
