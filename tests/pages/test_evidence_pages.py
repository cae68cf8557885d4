"""Every page that a program writes says what it was made with, and a page that is stale is seen."""

import re

import pytest

from benchmarks.pages import evidence
from lib.judging.baselines import read_session
from tests.ioi_fixtures.test_planted import WEIGHTS_HASH
from tests.support.places import BASELINE

PAGES = sorted(path.name for path in evidence.FOLDER.glob("*.md"))
# Of other models, and of code: the reference model has no part in them.
OF_OTHER_THINGS = {"BENCH.md", "FAMILIES.md", "MEMORY.md", "MUTATION.md", "SMOLLM2.md", "TRAINING.md"}
# Figures of the reference model itself, whatever is claimed of it.
OF_NO_CLAIM = {"CIRCUITS.md", "COVERAGE.md", "TOLERANCES.md"}


def made(text):
    found = evidence.MADE.search(text)
    assert found, "no line says what made this page: see benchmarks/pages/evidence.py"
    return found


def stale(text):
    """What a page says of its model and claims that is no longer so, in words."""
    found, wrong = made(text), []
    claims = evidence.number(read_session(BASELINE), about_the_model=bool(found["about"]))
    if found["model"] != WEIGHTS_HASH[:8]:
        wrong.append(f"it is of the reference model {found['model']}, and that is {WEIGHTS_HASH[:8]} now")
    if found["claims"] and found["claims"] != str(claims):
        wrong.append(f"it is of {found['claims']} claims{found['about'] or ''}, and there are {claims}")
    return [f"{what}: run {found['command']}" for what in wrong]


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_of_the_present_model_and_claims(name):
    text = (evidence.FOLDER / name).read_text(encoding="utf-8")
    if name in OF_OTHER_THINGS:
        assert made(text)["model"] is None
    else:
        assert (made(text)["claims"] is None) == (name in OF_NO_CLAIM)
        assert stale(text) == []


def test_a_stale_page_is_seen_by_either_number():
    line = (
        "# T\n\nMade by `make x` on 2026-01-02 at commit 0123456, on the reference model {} with {} claims.\n\nText.\n"
    )
    claims = len(read_session(BASELINE).claims)
    assert stale(line.format(WEIGHTS_HASH[:8], claims)) == []
    assert stale(line.format("0" * 8, claims)) == [
        f"it is of the reference model 00000000, and that is {WEIGHTS_HASH[:8]} now: run make x"
    ]
    assert stale(line.format(WEIGHTS_HASH[:8], 1)) == [f"it is of 1 claims, and there are {claims}: run make x"]


def test_a_page_about_the_model_is_not_made_stale_by_a_claim_about_tools(tmp_path, monkeypatch):
    monkeypatch.setattr(evidence, "FOLDER", tmp_path)
    evidence.write("PAGE.md", "# Title\n\nText.\n", command="make x", of="claims about the model")
    text = (tmp_path / "PAGE.md").read_text(encoding="utf-8")
    kept = read_session(BASELINE)
    assert int(made(text)["claims"]) == sum("test_instruments.py" not in claim.test for claim in kept.claims)
    assert stale(text) == []
    claims = made(text)["claims"]
    assert stale(text.replace(f"{claims} claims about it", "1 claims about it")) == [
        f"it is of 1 claims about it, and there are {claims}: run make x"
    ]


def test_what_is_written_is_read_again(tmp_path, monkeypatch):
    monkeypatch.setattr(evidence, "FOLDER", tmp_path)
    evidence.write("PAGE.md", "# Title\n\nText.\n\nMore.\n", command="make pages")
    assert evidence.read("PAGE.md") == "# Title\n\nText.\n\nMore.\n"
    assert stale((tmp_path / "PAGE.md").read_text(encoding="utf-8")) == []
    evidence.write("OTHER.md", "# Title\n\nText.\n", command="make other", of="other things")
    text = (tmp_path / "OTHER.md").read_text(encoding="utf-8")
    assert made(text)["model"] is None
    assert re.fullmatch(r"[0-9a-f]{7,}|unknown", made(text)["commit"])
