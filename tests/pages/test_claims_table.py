"""docs/evidence/CLAIMS.md is what the code says: same claims, same sentences, same references, same reference model."""

import re
from collections import Counter

import pytest

from benchmarks.pages import evidence
from benchmarks.pages.claims_table import NAME, linked, table
from ioi_fixtures import planted
from ioi_fixtures.published import FOLDER
from lib.judging.baselines import read_session
from lib.judging.references import read_references
from lib.models.model import hash_weights
from lib.plugin.reporting import sentence
from tests.support.places import BASELINE, ROOT

# By definition, of the format, or what the reader brings: nobody published it.
NOTHING_TO_LINK = ("the circuit file", "by symmetry", "by definition", "causal attention", "the format's definition")
REMEDY = "run `make docs` and commit what it writes"


class Collected:
    """A plugin that notes what was collected."""

    def __init__(self):
        self.sentences = {}

    def pytest_collection_finish(self, session):
        self.sentences = {item.nodeid: sentence(item) for item in session.items}


def test_the_table_is_rendered_from_the_kept_run():
    assert evidence.read(NAME) == table(read_session(BASELINE)), REMEDY


def test_the_kept_run_has_every_claim_of_the_reference_model():
    collected = Collected()
    asked = ["--collect-only", str(ROOT / "claims"), "--claims-model", "planted"]
    quietly = ["-p", "no:terminal", "-p", "no:cacheprovider", f"--rootdir={ROOT}", "-c", str(ROOT / "pyproject.toml")]
    pytest.main([*asked, *quietly], plugins=[collected])
    assert {claim.test: claim.sentence for claim in read_session(BASELINE).claims} == collected.sentences, REMEDY


def test_the_kept_run_was_judged_by_the_present_references():
    references = read_references(FOLDER)
    for claim in read_session(BASELINE).claims:
        for figure in claim.measurements:
            assert figure.published.model_dump() == references[figure.published.id].model_dump(), REMEDY


def test_the_kept_run_was_on_the_present_reference_model():
    [subject] = read_session(BASELINE).subjects
    assert subject.weights_hash == hash_weights(planted.directory()), REMEDY


def test_every_claim_of_the_kept_run_held():
    assert {claim.outcome for claim in read_session(BASELINE).claims} == {"passed"}


def test_every_source_is_linked():
    for reference in read_references(FOLDER).values():
        assert "[" in linked(reference.source) or reference.source.startswith(NOTHING_TO_LINK), reference.source


def test_longer_names_are_linked_before_names_within_them():
    assert linked("TransformerLens documentation, Wang et al. 2022, §3") == (
        "[TransformerLens documentation], [Wang et al. 2022], §3"
    )


def test_each_address_stands_once_and_every_link_has_one():
    page = table(read_session(BASELINE))
    defined = re.findall(r"^\[([^]]+)\]: \S+$", page, re.MULTILINE)
    sources = [cell for line in page.splitlines() if line.startswith("| ") for cell in [line.split(" | ")[2]]]
    used = {name for source in sources for name in re.findall(r"\[([^]]+)\]", source)}
    assert sorted(defined) == sorted(used)


def test_nothing_but_a_record_is_said_again_in_row_after_row():
    """What was published, its source and its band stand in every row that is judged by them; all else is said once."""
    rows = [line.strip("| ").split(" | ") for line in table(read_session(BASELINE)).splitlines() if line[:2] == "| "]
    cells = Counter(cell for row in rows for column, cell in enumerate(row) if column not in (1, 2, 3))
    assert [cell for cell, times in cells.items() if times > 3 and len(cell.split()) > 3] == []
