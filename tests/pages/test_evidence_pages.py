"""Every page that a program writes says what it was made with, and a page that is stale is seen."""

import re

import pytest

from benchmarks.pages import evidence
from lib.judging.baselines import read_session
from tests.ioi_fixtures.test_planted import WEIGHTS_HASH
from tests.support.places import BASELINE

PAGES = sorted(path.name for path in evidence.FOLDER.glob("*.md"))
# Of a random model, and of code: the reference model has no part in them.
OF_OTHER_THINGS = {"BENCH.md", "FAMILIES.md", "MEMORY.md", "MUTATION.md"}


def made(text):
    found = evidence.MADE.search(text)
    assert found, "no line says what made this page: see benchmarks/pages/evidence.py"
    return found


def stale(text):
    """What a page says of its model and claims that is no longer so, in words."""
    found, claims = made(text), len(read_session(BASELINE).claims)
    wrong = []
    if found["model"] != WEIGHTS_HASH[:8]:
        wrong.append(f"it is of the reference model {found['model']}, and that is {WEIGHTS_HASH[:8]} now")
    if found["claims"] != str(claims):
        wrong.append(f"it is of {found['claims']} claims, and there are {claims}")
    return [f"{what}: run {found['command']}" for what in wrong]


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_of_the_present_model_and_claims(name):
    text = (evidence.FOLDER / name).read_text(encoding="utf-8")
    if name in OF_OTHER_THINGS:
        assert made(text)["model"] is None
    else:
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


def test_what_is_written_is_read_again(tmp_path, monkeypatch):
    monkeypatch.setattr(evidence, "FOLDER", tmp_path)
    evidence.write("PAGE.md", "# Title\n\nText.\n\nMore.\n", command="make pages")
    assert evidence.read("PAGE.md") == "# Title\n\nText.\n\nMore.\n"
    assert stale((tmp_path / "PAGE.md").read_text(encoding="utf-8")) == []
    evidence.write("OTHER.md", "# Title\n\nText.\n", command="make other", about_it=False)
    text = (tmp_path / "OTHER.md").read_text(encoding="utf-8")
    assert made(text)["model"] is None
    assert re.fullmatch(r"[0-9a-f]{7,}|unknown", made(text)["commit"])
