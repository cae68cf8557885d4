"""Sequential sampling: few prompts first, more where those leave a claim open, and never a verdict changed by it."""

import json
import os

import pytest
import torch

from lib.judging.statistics import confidence, looks, mean_over_prompts, share
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


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """A project of a few claims; gives a function that runs them and returns the record, the output and the status."""
    folder = tmp_path_factory.mktemp("looks")
    (folder / "claims").mkdir()
    (folder / "conftest.py").write_text(CONFTEST, encoding="utf-8")
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    (folder / "claims" / "test_toy.py").write_text(CLAIMS, encoding="utf-8")

    def run(*arguments):
        command = ["pytest", "claims/", "-p", "no:cacheprovider", *arguments]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "120"}
        done = run_module(*command, folder=folder, environment=environment)
        session = json.loads((folder / "reports" / "claims.json").read_text(encoding="utf-8"))
        return session, done.stdout, done.returncode

    return run


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
    claims = {claim["test"].partition("test_toy.py::test_")[2].partition("[")[0]: claim for claim in session["claims"]}
    assert {name: claim["outcome"] for name, claim in claims.items()} == {
        "is_clear": "passed",
        "is_false": "failed",
        "is_close": "passed",
        "stays_open": "failed",
        "breaks": "failed",
    }
    assert list(claims) == ["is_clear", "is_false", "is_close", "stays_open", "breaks"]  # not last what was asked twice
    taken = {name: [figure["n"] for figure in claim["measurements"]] for name, claim in claims.items()}
    assert taken == {"is_clear": [25], "is_false": [25], "is_close": [100], "stays_open": [100], "breaks": [1]}
    assert session["looks"] == [25, 100]
    assert "3 failed, 2 passed, 2 asked again" in said
    assert status == pytest.ExitCode.TESTS_FAILED


def test_one_look_takes_all_prompts_at_once(toy):
    session, said, _ = toy("--claims-one-look", "-k", "clear or close")
    assert [figure["n"] for claim in session["claims"] for figure in claim["measurements"]] == [100, 100]
    assert session["looks"] == [100]
    assert "asked again" not in said
