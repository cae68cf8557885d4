"""The upgrade page says which figures moved, where, and in which version; and nothing but that version differs."""

import re

import pytest

from benchmarks.pages.upgrades import RUNS, page, read_runs
from tests.support.example_session import example_session
from tests.support.places import ROOT

TIED_TO_IT = {"numpy", "transformers", "transformer-lens"}  # what a version of TransformerLens limits, and itself


def moved(session, by, test=None):
    """The session with every figure, or only those of one test, moved."""
    claims = [
        claim.model_copy(
            update={
                "measurements": [
                    figure.model_copy(update={"value": figure.value + (by if test in (None, figure.test) else 0)})
                    for figure in claim.measurements
                ]
            }
        )
        for claim in session.claims
    ]
    return session.model_copy(update={"claims": claims})


@pytest.fixture
def session():
    example = example_session()
    return example.model_copy(update={"versions": {**example.versions, "torch": "2.13.0", "transformers": "5.23.0"}})


def test_runs_that_agree_are_said_to_agree(session):
    text = page(dict.fromkeys(RUNS, session) | {RUNS[1]: moved(session, 5e-5)})
    assert "Nowhere: every figure of every run is within 0.0001." in text


def test_a_figure_that_moved_is_named_with_the_version_in_which_it_did(session):
    [test, *_] = [figure.test for claim in session.claims for figure in claim.measurements]
    text = page(dict.fromkeys(RUNS, session) | {RUNS[2]: moved(session, 0.25, test)})
    apart = text.partition("## Where they do not agree")[2].partition("## Every figure")[0]
    rows = [[cell.strip() for cell in line.split("|")] for line in apart.splitlines() if "e-01" in line]
    assert rows
    for row in rows:
        assert row[4:8] == ["0.0e+00", "2.5e-01", "0.0e+00", "0.0e+00"]
    assert f"\n{rows[0][1]}: why is not known yet\n" in apart


def test_a_figure_that_is_not_measured_any_more_is_no_agreement(session):
    bare = session.model_copy(update={"claims": session.claims[:1]})
    assert f"{RUNS[3]} lacks or adds" in page(dict.fromkeys(RUNS, session) | {RUNS[3]: bare})


def test_a_missing_run_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match=RUNS[0]):
        read_runs(tmp_path)


def pins(path):
    """Versions by name, as PyPI spells it; of those that depend on Python, the ones for 3.11."""
    found = re.findall(r"^([\w.-]+)==(\S+)(?: ; python_full_version (.*))?$", path.read_text(), re.MULTILINE)
    for_3_11 = ("", "== '3.11.*'", ">= '3.11'")
    return {name.lower().replace("_", "-"): number for name, number, where in found if where in for_3_11}


@pytest.mark.parametrize("path", sorted((ROOT / "constraints").iterdir()), ids=lambda path: path.stem)
def test_what_the_project_needs_is_pinned_alike_whatever_the_version(path):
    needed = re.findall(r'^    "([\w-]+)>=[^;"]+",$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert {"plotly", "pytest-html"} <= set(needed)
    ours, theirs = pins(ROOT / "constraints.txt"), pins(path)
    assert set(needed) <= set(theirs)
    assert {name for name in needed if theirs[name] != ours[name]} <= TIED_TO_IT
