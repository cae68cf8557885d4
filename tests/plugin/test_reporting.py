"""From a claim to the reports, with a toy subject in a project of its own: what is recorded arrives in all of them."""

import json

import pytest

from lib.judging.measurements import Session
from lib.judging.verdicts import standing, why

pytest_plugins = ["pytester"]

CONFTEST = """
import pytest
from lib.judging.references import Reference

pytest_plugins = ["lib.plugin.pytest_plugin"]

@pytest.fixture(params=["toy"])
def subject(request):
    return request.param

@pytest.fixture
def claim():
    return Reference(
        id="toy/share", says="above 90%", source="Toy 2020, §1", how="by hand", accept={"above": 0.9}, why="because"
    )
"""
CLAIMS = '''
import pytest, torch
from lib.judging.statistics import Estimate, exact

def test_holds(subject, claim, record):
    """It holds for {subject}."""
    assert record("share", exact(0.95), claim) in claim

def test_fails(subject, claim, record):
    """It fails."""
    record.head_map("a map", "units", torch.eye(2))
    assert record("share", exact(0.5), claim) in claim

def test_is_inconclusive(subject, claim, record):
    """It might hold."""
    assert record("share", Estimate(0.92, 0.85, 0.99, 50, "test"), claim) in claim

@pytest.fixture
def broken():
    raise OSError("no such thing")

def test_cannot_run(subject, broken):
    """It cannot be run, <b>really</b>."""

def test_without_subject():
    """No claim."""
'''


@pytest.fixture
def session(pytester):
    """The session recorded by a run over four claims, and the run itself."""
    pytester.makeconftest(CONFTEST)
    pytester.mkdir("claims")
    pytester.path.joinpath("claims", "test_toy.py").write_text(CLAIMS, encoding="utf-8")
    result = pytester.runpytest("claims")
    text = (pytester.path / "reports" / "claims.json").read_text(encoding="utf-8")
    return Session.model_validate_json(text), result, pytester.path / "reports" / "claims.html"


def test_every_claim_is_in_the_json_with_its_outcome_and_reason(session):
    session, result, _ = session
    result.assert_outcomes(passed=2, failed=2, errors=1)
    claims = {claim.test.split("::")[1]: claim for claim in session.claims}
    assert {name: claim.outcome for name, claim in claims.items()} == {
        "test_holds[toy]": "passed",
        "test_fails[toy]": "failed",
        "test_is_inconclusive[toy]": "failed",
        "test_cannot_run[toy]": "error",
    }
    assert claims["test_holds[toy]"].sentence == "It holds for toy."
    assert claims["test_holds[toy]"].reason == ""
    for part in ("measured 0.5 (exact)", "at least 0.9", "above 90%", "Toy 2020, §1", "outside the band"):
        assert part in claims["test_fails[toy]"].reason
    assert "more prompts" in claims["test_is_inconclusive[toy]"].reason
    assert "no such thing" in claims["test_cannot_run[toy]"].reason


def test_measurements_and_maps_arrive_as_they_were_recorded(session):
    session, _, _ = session
    [figure] = session.claims[1].measurements
    assert (figure.label, figure.value, figure.subject, figure.verdict) == ("share", 0.5, "toy", "fail")
    assert figure.published.source == "Toy 2020, §1"
    [shown] = session.drawings
    assert (shown.test, shown.subject) == (session.claims[1].test, "toy")
    assert (shown.drawing.title, shown.drawing.values) == ("a map", [[1.0, 0.0], [0.0, 1.0]])


def test_the_page_has_a_row_a_claim_and_loads_nothing(session):
    _, _, page = session
    html = page.read_text(encoding="utf-8")
    for sentence in ("It holds for toy.", "It fails.", "It might hold.", "It cannot be run"):
        assert sentence in html
    assert "<b>really</b>" not in html
    assert "<link" not in html
    assert 'src="http' not in html


def test_the_terminal_explains_what_does_not_hold(session):
    _, result, _ = session
    result.stdout.fnmatch_lines(["*It fails.*", "*written: *claims.json and *claims.html"])


def test_a_file_that_cannot_be_loaded_is_in_the_report(pytester):
    pytester.makeconftest(CONFTEST)
    pytester.mkdir("claims")
    pytester.path.joinpath("claims", "test_broken.py").write_text("import no_such_module", encoding="utf-8")
    pytester.runpytest("claims")
    session = json.loads((pytester.path / "reports" / "claims.json").read_text(encoding="utf-8"))
    [claim] = session["claims"]
    assert claim["outcome"] == "error"
    assert "no_such_module" in claim["reason"]


UNDECIDED = '''
import pytest
from lib.judging.recorder import Inconclusive
from lib.judging.statistics import Estimate

@pytest.fixture(scope="session")
def means():
    raise Inconclusive("there is nothing to average over: bring more")

def test_in_a_fixture(subject, means):
    """It needs means."""

def test_in_the_claim(subject, record):
    """It says so itself."""
    record.note("a toy was here")
    raise Inconclusive("it lacks a word: use another")

def test_file_is_too_short(subject, claim, record):
    """It might hold on more prompts than there are."""
    record.available = 60
    assert record("share", Estimate(0.92, 0.85, 0.99, 50, "test"), claim) in claim
'''


def test_what_nothing_could_have_decided_is_inconclusive_with_its_reason(pytester):
    pytester.makeconftest(CONFTEST)
    pytester.mkdir("claims")
    pytester.path.joinpath("claims", "test_toy.py").write_text(UNDECIDED, encoding="utf-8")
    result = pytester.runpytest("claims")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    text = (pytester.path / "reports" / "claims.json").read_text(encoding="utf-8")
    session = Session.model_validate_json(text)
    assert [standing(claim) for claim in session.claims] == ["inconclusive"] * 3
    assert [why(claim) for claim in session.claims[:2]] == [
        "there is nothing to average over: bring more",
        "it lacks a word: use another",
    ]
    says = "the file has no more prompts: use a larger file (about "
    assert says in session.claims[2].measurements[0].explanation
    assert says in session.claims[2].reason
    assert session.notes == ["a toy was here"]
    assert "there is nothing to average over" in (pytester.path / "reports" / "claims.html").read_text("utf-8")
    result.stdout.fnmatch_lines(["*toy: 0 of 3 claims hold, 3 are inconclusive*", "*Notes:*", "*a toy was here*"])


def test_no_report_is_written_where_no_claim_was_asked_for(pytester):
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile("def test_something(): pass")
    pytester.mkdir("claims")
    pytester.runpytest("test_no_report_is_written_where_no_claim_was_asked_for.py")
    assert not (pytester.path / "reports").exists()


def test_recording_outside_a_test_is_refused(pytester):
    pytester.makeconftest(
        CONFTEST + "\n@pytest.fixture(scope='session', autouse=True)\n"
        "def early(record):\n    record.running = None\n    record.head_map('m', 'u', __import__('torch').eye(2))\n"
    )
    pytester.mkdir("claims")
    pytester.path.joinpath("claims", "test_toy.py").write_text(CLAIMS, encoding="utf-8")
    pytester.runpytest("claims").stdout.fnmatch_lines(["*outside a running test*"])


def test_a_head_map_with_holes_is_refused(pytester):
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(
        "import torch\ndef test_map(subject, record):\n    record.head_map('m', 'u', torch.full((2, 2), torch.nan))"
    )
    pytester.runpytest().stdout.fnmatch_lines(["*m: 4 values are not finite numbers*"])
