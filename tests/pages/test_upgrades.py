"""The upgrade page says which figures moved, where, and in which version, and which versions go together; and nothing
but that version differs."""

import json
import re

import pytest

from benchmarks.pages import evidence
from benchmarks.pages.upgrades import NAME, RUNS, page, read_runs, verified
from lib.models import backends
from lib.models.backends import LIBRARIES, VERIFIED, unverified
from tests.support.example_session import example_session
from tests.support.places import ROOT

# What a version of TransformerLens limits, by what it needs itself or through that, and itself.
TIED_TO_IT = {"fsspec", "numpy", "transformers", "transformer-lens"}


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
    installed = {"torch": "2.13.0", "transformers": "5.23.0", "nnsight": "0.8.1"}
    return example.model_copy(update={"versions": {**example.versions, **installed}})


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


def held(session):
    claims = [claim.model_copy(update={"outcome": "passed"}) for claim in session.claims]
    return session.model_copy(update={"claims": claims})


def test_versions_are_verified_together_where_every_claim_held(session):
    versions = {"transformer-lens": "4.3.0", "transformers": "5.23.0", "nnsight": "0.8.1"}
    right = held(session).model_copy(update={"versions": {**session.versions, **versions}})
    older = right.model_copy(update={"versions": {**right.versions, "transformer-lens": "3.5.1"}})
    wrong = older.model_copy(update={"claims": session.claims})
    runs = dict.fromkeys(RUNS, wrong) | {"4.3.0-bridge": right, "3.5.1-bridge": older, "0.8.1-nnsight": right}
    found = {"bridge": [["3.5.1", "5.23.0"], ["4.3.0", "5.23.0"]], "nnsight": [["0.8.1", "5.23.0"]]}
    assert verified(runs) == found
    assert page(runs).split("\n\n")[1] == (
        "Verified together, every claim holding: transformer-lens 3.5.1 and transformers 5.23.0 (bridge), "
        "transformer-lens 4.3.0 and transformers 5.23.0 (bridge), nnsight 0.8.1 and transformers 5.23.0 (nnsight). A "
        "run under other versions says that they were not."
    )


def test_the_kept_page_says_what_runs_go_by():
    table = [
        line.strip("| ").split(" | ") for line in evidence.read(NAME).split("\n## ")[0].splitlines() if "|" in line
    ]
    rows = [dict(zip(table[0], row, strict=False)) for row in table[2:]]
    found = {}
    for row in rows:
        version, _, backend = row["run"].rpartition("-")
        version = row.get("library", version).split()[-1]
        holding, _, asked = row["claims that hold"].partition(" of ")
        if backend in LIBRARIES and holding == asked:
            found.setdefault(backend, set()).add((version, row["transformers"]))
    kept = json.loads(VERIFIED.read_text())
    assert {backend: set(map(tuple, pairs)) for backend, pairs in kept.items()} == found


def test_a_run_under_other_versions_says_so(monkeypatch):
    installed = {"transformer-lens": "9.0.0", "transformers": "5.23.0"}
    monkeypatch.setattr(backends, "version", installed.get)
    said = unverified("bridge")
    assert said.startswith("transformer-lens 9.0.0 and transformers 5.23.0 (bridge) were not verified together")
    assert "every claim was seen to hold with" in said
    assert unverified("plain") == ""
    [library, transformers] = json.loads(VERIFIED.read_text())["bridge"][0]
    installed |= {"transformer-lens": library, "transformers": transformers}
    assert unverified("bridge") == ""


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
    project = (ROOT / "pyproject.toml").read_text()
    needed = re.findall(r'^    "([\w-]+)>=[^;"]+",$', project[: project.index("[project.optional-")], re.MULTILINE)
    assert {"plotly", "pytest-html"} <= set(needed)
    ours, theirs = pins(ROOT / "constraints.txt"), pins(path)
    assert set(needed) <= set(theirs)
    assert {name for name in needed if theirs[name] != ours[name]} <= TIED_TO_IT
