"""docs/evidence/CLAIMS.md is what the code says: same claims, same sentences, same references, same reference model."""

import pytest

from benchmarks.pages import evidence
from benchmarks.pages.claims_table import NAME, table
from ioi_fixtures import planted
from ioi_fixtures.published import FOLDER
from lib.judging.baselines import read_session
from lib.judging.references import read_references
from lib.models.model import hash_weights
from lib.plugin.reporting import sentence
from tests.support.places import BASELINE, ROOT

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
