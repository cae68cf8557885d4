"""The page about the real model is of the circuit that is stated today, and says what must not be."""

import pytest

from benchmarks.pages import evidence, smollm2
from benchmarks.pages.smollm2 import BYTES, SECONDS, Seed, page, problems, stated
from ioi_fixtures.smollm2 import WEIGHTS
from ioi_fixtures.smollm2.broken import BROKEN, NEUTRAL
from tests.support.example_session import example_session


def session_of(**outcomes):
    """A run of claims by their names, each with its outcome, all of which measured the logit difference."""
    made = example_session()
    one = next(claim for claim in made.claims if claim.outcome == "passed")
    figure = one.measurements[0].model_copy(update={"label": "logit difference"})
    named = {"measurements": [figure], "subject": "smollm2-135m"}
    claims = [
        one.model_copy(update={**named, "test": f"claims/test_circuit_file.py::test_{name}", "outcome": outcome})
        for name, outcome in outcomes.items()
    ]
    return made.model_copy(update={"claims": claims, "seconds": 100.0})


@pytest.fixture
def copies():
    """Of every broken copy a run in which the claims that name what is broken fail."""
    return {
        name: session_of(**{named or "anything": "failed" for named in broken.named} or {"all": "passed"})
        for name, broken in BROKEN.items()
    }


HELD = session_of(all="passed")
SEEDS = dict.fromkeys(range(30), Seed(HELD))


def test_the_kept_page_is_of_the_circuit_as_it_is_stated():
    text = (evidence.FOLDER / smollm2.NAME).read_text(encoding="utf-8")
    assert f"claims stated by {stated()}" in text, "run make real-evidence"
    assert WEIGHTS[:12] in text
    assert all(f"| {name}: " in text or f"- {name} was not asked" in text for name in BROKEN)
    assert smollm2.PICTURE.is_file()


def test_where_all_is_as_it_should_be_nothing_is_said(copies):
    assert problems(HELD, 10**9, SEEDS, copies) == []
    text = page(HELD, 10**9, SEEDS, copies)
    assert "**`make real`:** 1 of 1 hold, 0 of which are controls" in text
    assert "Failing runs: 0 of 30 (0.00" in text
    assert text.endswith("## What must not be\n\n- nothing\n")


def test_a_broken_copy_that_its_own_claims_pass_has_survived(copies):
    copies["groups_swapped"] = session_of(something_else="failed")
    assert problems(HELD, 10**9, SEEDS, copies) == [
        f"groups_swapped: {named}" for named in BROKEN["groups_swapped"].named
    ]


def test_what_the_neutral_copy_fails_must_not_be(copies):
    copies[NEUTRAL] = session_of(anything="failed")
    assert problems(HELD, 10**9, SEEDS, copies) == [f"{NEUTRAL}: anything"]


@pytest.mark.parametrize(("failing", "says"), [(1, []), (2, ["2 of 30 seeds fail: 0, 1"])])
def test_one_failing_seed_is_allowed(failing, says, copies):
    seeds = SEEDS | {seed: Seed(session_of(that="failed")) for seed in range(failing)}
    assert problems(HELD, 10**9, seeds, copies) == says
    assert "- seed 0: that" in page(HELD, 10**9, seeds, copies)


def left_open(session):
    """The same run, but what failed in it was left open."""
    claims = [
        one.model_copy(update={"measurements": [one.measurements[0].model_copy(update={"verdict": "inconclusive"})]})
        for one in session.claims
    ]
    return session.model_copy(update={"claims": claims})


def test_what_a_seed_leaves_open_counts_as_it_comes_out_on_more_prompts(copies):
    first = left_open(session_of(this="failed", that="passed"))
    assert (Seed(first).left_open, Seed(first).failing) == (["this"], ["this"])
    for again, failing in (
        (session_of(this="passed"), []),
        (session_of(this="failed"), ["this"]),
        (left_open(session_of(this="failed")), ["this"]),
    ):
        assert Seed(first, again).failing == failing
    text = page(HELD, 10**9, SEEDS | {3: Seed(first, session_of(this="passed"))}, copies)
    assert "asked again on 1,000 prompts: of 1 seeds." in text
    assert "Failing runs: 0 of 30" in text
    assert "- seed 3, open at first: this" in text


def test_what_was_not_asked_is_told(copies):
    del copies["groups_swapped"]
    said = ["1 of 30 seeds were asked", "groups_swapped was not asked"]
    assert problems(HELD, 10**9, {0: Seed(HELD)}, copies) == said
    assert "None was asked yet." in page(HELD, 10**9, {}, copies)


def test_a_run_that_is_slow_or_large_or_does_not_hold_must_not_be(copies):
    slow = session_of(this="failed").model_copy(update={"seconds": SECONDS + 60.0})
    assert problems(slow, BYTES + 10**9, SEEDS, copies) == [
        "does not hold: this",
        "the whole run took 300 s, of 240 s",
        "the whole run held 7.0 GB, of 6 GB",
    ]
