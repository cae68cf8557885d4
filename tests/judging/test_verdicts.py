import pytest

from lib.judging.verdicts import claims_about, measured, sample, standing, subject_names, verdict_sentence, why
from tests.support.example_session import claim, example_session, figure

PASS = figure("copying", "planted", "inside", 0.97, 0.95, 0.99)
FAIL = figure("copying", "planted", "outside", 0.6, 0.5, 0.7)
OPEN = figure("difference", "planted", "open", 3.4, 3.2, 3.6)


@pytest.mark.parametrize(
    ("outcome", "figures", "expected"),
    [
        ("passed", [PASS], "holds"),
        ("failed", [PASS, FAIL], "fails"),
        ("failed", [OPEN], "inconclusive"),
        ("failed", [PASS, OPEN], "inconclusive"),
        ("failed", [OPEN, FAIL], "fails"),
        ("failed", [PASS], "fails"),  # something other than a figure failed
        ("failed", [], "fails"),
        ("error", [OPEN], "error"),
        ("skipped", [], "skipped"),
    ],
)
def test_a_claim_stands_as_its_outcome_and_figures_say(outcome, figures, expected):
    assert standing(claim("test_a.py::test_a", "planted", "A sentence.", outcome, *figures)) == expected


def test_the_sentence_counts_every_kind_of_outcome():
    session = example_session()
    assert verdict_sentence(claims_about(session, "planted")) == (
        "1 of 6 claims hold, 2 fail, 1 is inconclusive, 1 could not be run, 1 was skipped"
    )
    assert verdict_sentence(claims_about(session, "second")) == "2 of 2 claims hold"
    assert verdict_sentence(claims_about(session, "second")[:1]) == "1 of 1 claim holds"
    assert verdict_sentence([]) == "no claim was run"


def test_claims_come_worst_first():
    found = [standing(claim) for claim in claims_about(example_session(), "planted")]
    assert found == ["error", "fails", "fails", "inconclusive", "skipped", "holds"]


def test_a_claim_without_a_subject_is_not_lost():
    broken = claim("test_b.py", "", "test_b.py can be loaded.", "error", reason="no module named x")
    session = example_session().model_copy(update={"claims": [broken]})
    assert subject_names(session) == ["planted", "second", ""]
    assert claims_about(session, "") == [broken]


def test_the_reason_is_the_worst_figures_explanation_else_the_tests_own():
    assert why(claim("a", "s", "A.", "passed", FAIL)) == ""
    assert why(claim("a", "s", "A.", "failed", PASS, OPEN, FAIL)) == f"outside: {FAIL.explanation} (and 1 more like it)"
    assert why(claim("a", "s", "A.", "failed", PASS, reason="assert 1 == 2\n + where 1 = f()")) == "assert 1 == 2"
    assert why(claim("a", "s", "A.", "error")) == "no reason was given"


@pytest.mark.parametrize(
    ("reference", "value", "low", "high", "expected"),
    [
        ("copying", 0.6149, 0.55, 0.68, ("0.61", "[0.55, 0.68]")),
        ("copying", 0.97, 0.9451, 0.99, ("0.970", "[0.945, 0.990]")),
        ("copying", 0.5, 0.5, 0.5, ("0.50", "no spread")),
        ("copying", 2.0, 1.0, 3.0, ("2.00", "[1.00, 3.00]")),
        ("copying", 0.93, 0.8996, 0.96, ("0.9300", "[0.8996, 0.9600]")),  # not "0.900", which would be inside
        ("copying", 3e-9, 1e-9, 5e-9, ("3e-09", "[1e-09, 5e-09]")),
        ("copying", 0.01, 0.0002, 0.05, ("0.010", "[0.000, 0.050]")),
        ("copying", 2.5e7, 2e7, 3e7, ("2.5e+07", "[2e+07, 3e+07]")),
    ],
)
def test_figures_are_printed_as_finely_as_the_verdict_needs(reference, value, low, high, expected):
    assert measured(figure(reference, "planted", "x", value, low, high)) == expected


def test_an_exact_figure_has_no_sample():
    exact = figure("canary", "planted", "x", 2.9874, 2.9874, 2.9874, n=1)
    assert (measured(exact), sample(exact)) == (("2.9874", "exact"), "")
    assert sample(PASS) == "N = 100"
