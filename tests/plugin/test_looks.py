"""Sequential sampling: few prompts first, more where those leave a claim open, and never a verdict changed by it."""

import os

import pytest
import torch

from lib.judging.measurements import Session
from lib.judging.statistics import confidence, looks, mean_over_prompts, share
from lib.judging.verdicts import claims_about, standing, verdict_sentence, why
from lib.plugin.looks import sizes
from tests.support.places import ROOT
from tests.support.warm_process import run_module

CONFTEST = """
import pytest

pytest_plugins = ["lib.plugin.pytest_plugin"]

def pytest_generate_tests(metafunc):
    metafunc.parametrize("subject", ["toy"], scope="session", indirect=True)

@pytest.fixture(scope="session")
def subject(request):
    return request.param

@pytest.fixture(scope="session")
def n(request):
    from lib.plugin.looks import LOOK  # not before pytest has loaded it as a plugin

    return request.config.stash.get(LOOK, request.config.option.claims_prompts)
"""
CLAIMS = '''
import pytest, torch
from lib.judging.references import Band, Reference
from lib.judging.statistics import exact, mean_over_prompts

AT_LEAST_HALF = Reference(
    id="toy/half", says="half", source="nobody", how="by hand", why="a test", accept=Band(above=0.5)
)

def measured(record, n, level):
    values = level + torch.arange(n).remainder(2) - 0.5
    return record("level", mean_over_prompts(values), AT_LEAST_HALF)

def test_is_clear(subject, n, record):
    """It is clear at once."""
    assert measured(record, n, 2.0) in AT_LEAST_HALF

def test_is_false(subject, n, record):
    """It is false at once."""
    assert measured(record, n, -2.0) in AT_LEAST_HALF

def test_is_close(subject, n, record):
    """It takes all prompts."""
    assert measured(record, n, 0.65) in AT_LEAST_HALF

def test_stays_open(subject, n, record):
    """No number of prompts would do."""
    assert measured(record, n, 0.5) in AT_LEAST_HALF

def test_breaks(subject, n, record):
    """It raises after an inconclusive figure, and is not asked again."""
    record("exact", exact(1.0), AT_LEAST_HALF)
    raise RuntimeError("broken")
'''


STOPS = (
    CLAIMS.partition("def test_is_false")[0]
    + '''
import os, signal, time

def stop(n):
    how, _, size = os.environ["STOP"].partition(" at ")
    if n == int(size):
        if how == "crash":
            time.sleep(1)  # what was measured is on its way to the process that reports it
            os._exit(3)
        os.kill(os.getpid(), getattr(signal, how))

def test_is_open(subject, n, record):
    """It takes all prompts."""
    record.head_map("of few prompts" if n == 25 else "of all", "units", torch.eye(2))
    assert measured(record, n, 0.65) in AT_LEAST_HALF

def test_stops(subject, n, record):
    """It stops the run."""
    stop(n)
    assert measured(record, n, 0.65) in AT_LEAST_HALF

def test_is_open_too(subject, n, record):
    """It takes all prompts as well."""
    assert measured(record, n, 0.65) in AT_LEAST_HALF
'''
)


def project(folder, claims):
    """A project of a few claims; gives a function that runs them and returns the record, the output and the status."""
    (folder / "claims").mkdir()
    (folder / "conftest.py").write_text(CONFTEST, encoding="utf-8")
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    (folder / "claims" / "test_toy.py").write_text(claims, encoding="utf-8")

    def run(*arguments, **variables):
        command = ["pytest", "claims/", "-p", "no:cacheprovider", "--claims-report", "reports", *arguments]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200", **variables}
        done = run_module(*command, folder=folder, environment=environment)
        session = Session.model_validate_json((folder / "reports" / "claims.json").read_text(encoding="utf-8"))
        return session, done.stdout, done.returncode

    return run


def by_name(session):
    return {claim.test.partition("::test_")[2].partition("[")[0]: claim for claim in session.claims}


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """Claims of every kind."""
    return project(tmp_path_factory.mktemp("looks"), CLAIMS)


@pytest.fixture
def stopped(tmp_path):
    """Claims one of which stops the run."""
    return project(tmp_path, STOPS)


@pytest.mark.parametrize(
    ("prompts", "expected"), [(24, (24,)), (95, (95,)), (96, (24, 96)), (100, (25, 100)), (400, (25, 100, 400))]
)
def test_each_look_takes_a_quarter_of_the_next(prompts, expected):
    assert sizes(prompts) == expected
    assert sizes(prompts, sequential=False) == (prompts,)


def test_intervals_widen_with_the_number_of_looks_and_only_while_they_are_taken():
    values = torch.randn(50, generator=torch.Generator().manual_seed(0))
    with looks(1):
        once, hits = mean_over_prompts(values), share(values > 0)
    with looks(2):
        twice, wider = mean_over_prompts(values), share(values > 0)
    assert confidence(1) == 0.95
    assert confidence(2) == 0.975
    assert (twice.high - twice.low) / (once.high - once.low) == pytest.approx(2.2414 / 1.96, rel=0.05)
    assert wider.low < hits.low < hits.high < wider.high
    with looks(1):
        assert mean_over_prompts(values) == once


def test_the_chance_of_a_wrong_verdict_over_both_looks_stays_below_five_percent():
    """A true value on the very end of a band: whatever a look says of it with certainty is wrong."""
    generator = torch.Generator().manual_seed(1)
    samples = torch.randn(400, 100, generator=generator)

    def is_wrong(sample):
        with looks(2):
            first, last = mean_over_prompts(sample[:25]), mean_over_prompts(sample)
        return any(look.low > 0 or look.high < 0 for look in (first, last))

    wrong = share(torch.tensor([is_wrong(sample) for sample in samples]))
    assert wrong.value < 0.05 + 3 * (0.05 * 0.95 / 400) ** 0.5  # as promised, and three standard errors of 400 samples


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["one process", "two workers"])
def test_only_what_few_prompts_leave_open_is_asked_again(toy, workers):
    session, said, status = toy(*workers)
    claims = by_name(session)
    assert {name: claim.outcome for name, claim in claims.items()} == {
        "is_clear": "passed",
        "is_false": "failed",
        "is_close": "passed",
        "stays_open": "failed",
        "breaks": "failed",
    }
    assert list(claims) == ["is_clear", "is_false", "is_close", "stays_open", "breaks"]  # not last what was asked twice
    taken = {name: [figure.n for figure in claim.measurements] for name, claim in claims.items()}
    assert taken == {"is_clear": [25], "is_false": [25], "is_close": [100], "stays_open": [100], "breaks": [1]}
    assert session.looks == [25, 100]
    assert "3 failed, 2 passed, 2 asked again" in said
    assert status == pytest.ExitCode.TESTS_FAILED


def test_one_look_takes_all_prompts_at_once(toy):
    session, said, _ = toy("--claims-one-look", "-k", "clear or close")
    assert [figure.n for claim in session.claims for figure in claim.measurements] == [100, 100]
    assert session.looks == [100]
    assert "asked again" not in said


LEFT = "25 prompts left it open, and the run was stopped before it was asked on 100 (level 0.63 ["


@pytest.mark.parametrize(
    ("how", "workers", "status"),
    [
        ("SIGINT at 25", (), pytest.ExitCode.INTERRUPTED),
        ("SIGTERM at 25", (), pytest.ExitCode.INTERRUPTED),
        ("crash at 25", ("-n", "1"), pytest.ExitCode.TESTS_FAILED),
        ("SIGINT at 100", (), pytest.ExitCode.INTERRUPTED),
        ("crash at 100", ("-n", "1"), pytest.ExitCode.TESTS_FAILED),
    ],
)
def test_what_a_look_left_open_is_inconclusive_where_the_run_is_stopped(how, workers, status, stopped, tmp_path):
    session, said, ended = stopped(*workers, STOP=how, GITHUB_STEP_SUMMARY=str(tmp_path / "summary.md"))
    claims = by_name(session)
    in_the_second = how.endswith("at 100")
    assert standing(claims["is_clear"]) == "holds"
    assert standing(claims["is_open"]) == ("holds" if in_the_second else "inconclusive")
    left = [claim for claim in claims.values() if claim.outcome == "inconclusive"]
    assert len(left) == (2 if in_the_second else 1)
    files = (tmp_path / "reports" / "claims.html", tmp_path / "summary.md")
    views = [" ".join(text.replace("\\", "").split()) for text in (said, *(file.read_text("utf-8") for file in files))]
    for claim in left:
        assert standing(claim) == "inconclusive"
        assert [figure.n for figure in claim.measurements] == [25]
        assert why(claim).startswith(LEFT)
        assert [why(claim) in view for view in views] == [True] * 3
    counts = verdict_sentence(claims_about(session, "toy"))
    assert [counts in view for view in views] == [True] * 3
    assert session.ended
    assert ended == status


def test_what_a_later_look_decided_is_all_that_is_kept_of_a_claim(stopped):
    session, _, _ = stopped(STOP="none at 0")
    assert {claim.outcome for claim in session.claims} == {"passed"}
    assert [shown.drawing.title for shown in session.drawings] == ["of all"]


def test_a_run_that_stops_at_the_first_failure_keeps_what_was_left_open(toy):
    session, said, status = toy("-x", "-k", "close or breaks")
    assert [standing(claim) for claim in session.claims] == ["inconclusive", "fails"]
    assert "0 of 2 claims hold, 1 fails, 1 is inconclusive" in said
    assert status == pytest.ExitCode.TESTS_FAILED
