"""Silent regressions that have happened are recreated on the installed libraries, and the suite notices every one.

What fails is compared with docs/incidents.toml, from which docs/INCIDENTS.md is generated.
"""

import re

import pytest

from benchmarks.pages import evidence
from benchmarks.pages.incidents_table import NAME, read_incidents, table
from ioi_fixtures.controls import nnsight_faults
from ioi_fixtures.controls.faults import FAULTS
from ioi_fixtures.controls.random_model import save_random
from ioi_fixtures.sentences.prompts import encode, make_prompts
from lib.models import backends
from lib.models.model import CannotLoad, Model, load
from lib.models.traces import changed_since, state_of
from tests.support.incident_checks import BATCH, CHECKS, KEPT, failing
from tests.support.places import ROOT

pytestmark = pytest.mark.usefixtures("on_one_thread")
NOT_OF_THIS_MODEL = {  # which the incidents are recreated on
    "intervals_hold_the_truth_as_often_as_promised",
    "heads_do_not_reach_the_mlp_beside_them",
}
INCIDENTS = {incident.id: incident for incident in read_incidents()}
RECREATED = [incident.id for incident in INCIDENTS.values() if incident.recreated]
CLAIMS = ROOT / "claims" / "test_instruments.py"


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    folder = tmp_path_factory.mktemp("random-gpt2")
    save_random(folder, n_layer=3, n_head=2, n_embd=16)
    return folder


@pytest.fixture(scope="module")
def witness(directory):
    return load(directory, device="cpu", dtype="float64", backend="plain")


class Tokenizer:
    """A tokenizer that gets the texts and the rows of tokens wrong in a given way."""

    def __init__(self, sound, *, texts=lambda texts: texts, rows=lambda rows: rows):
        self.sound, self.texts, self.rows = sound, texts, rows

    def __call__(self, texts, **arguments):
        return {"input_ids": self.rows(self.sound(self.texts(texts), **arguments)["input_ids"])}

    def __getattr__(self, name):
        return getattr(self.sound, name)


def prefix_space(tokenizer):
    return Tokenizer(tokenizer, texts=lambda texts: [text if text.startswith(" ") else f" {text}" for text in texts])


def start_token_always(tokenizer):
    return Tokenizer(tokenizer, rows=lambda rows: [[tokenizer.bos_token_id, *row] for row in rows])


TOKENIZERS = {"28": prefix_space, "29": start_token_always}


def caught_on_a_model(fault, monkeypatch, directory, witness, backend=None):
    """What notices a fault of the hooking library."""
    made = fault(monkeypatch, lambda: load(directory, device="cpu", backend=backend))
    if isinstance(made, Model):
        return caught_in_a_run(made, witness)
    model, use = made
    before = state_of(model)
    use()
    return {"leaves_no_trace"} if changed_since(model, before, ask=True) else set()  # as the fixture asks


def caught_in_a_run(model, witness):
    try:
        model.run(BATCH.tokens, last=BATCH.last, keep=KEPT)
    except RuntimeError as error:
        if not re.search(r"hook '.*' fired 0 times in one forward pass, not once", str(error)):
            raise
        return {"every_hook_fires_once"}
    except (IndexError, KeyError):
        pass  # the checks below meet the same
    return failing(model, witness)


@pytest.mark.parametrize("incident", FAULTS)
def test_a_fault_of_the_library_is_caught_by_what_the_table_says(incident, monkeypatch, directory, witness):
    caught = caught_on_a_model(FAULTS[incident], monkeypatch, directory, witness)
    assert caught == set(INCIDENTS[incident].caught_by)


@pytest.mark.parametrize("incident", nnsight_faults.FAULTS)
def test_a_fault_of_nnsights_users_is_caught_by_what_the_table_says(incident, monkeypatch, directory, witness):
    caught = caught_on_a_model(nnsight_faults.FAULTS[incident], monkeypatch, directory, witness, "nnsight")
    assert caught == set(INCIDENTS[incident].caught_by)


@pytest.mark.parametrize("incident", TOKENIZERS)
def test_a_fault_of_the_tokenizer_is_refused_when_prompts_are_encoded(incident, planted_model):
    prompts = make_prompts(24, seed=0)
    encode(prompts, planted_model.tokenizer, prepend_bos=False)
    with pytest.raises(ValueError, match="not one token|does not know|but position"):
        encode(prompts, TOKENIZERS[incident](planted_model.tokenizer), prepend_bos=False)
    assert set(INCIDENTS[incident].caught_by) == {"encode"}


def test_a_class_that_was_removed_is_refused_before_anything_runs(monkeypatch):
    monkeypatch.setattr(backends, "version", lambda name: "4.0.0")
    with pytest.raises(CannotLoad, match="no HookedTransformer, which 4.0 removed"):
        backends.check_backend("hooked")
    assert INCIDENTS["34"].caught_by == ("check_backend",)


@pytest.mark.parametrize("backend", ["bridge", "nnsight"])
def test_without_a_fault_nothing_is_caught(backend, directory, witness):
    assert caught_in_a_run(load(directory, device="cpu", backend=backend), witness) == set()


def test_every_incident_of_the_table_is_recreated_here():
    assert set(RECREATED) == {*FAULTS, *nnsight_faults.FAULTS, *TOKENIZERS, "34"}
    assert len({re.match(r"\d+", incident)[0] for incident in INCIDENTS}) == 49
    assert len({re.match(r"\d+", incident)[0] for incident in RECREATED}) >= 25


@pytest.mark.parametrize("name", CHECKS)
def test_every_check_is_a_claim(name):
    assert f"def test_{name}(" in CLAIMS.read_text(encoding="utf-8")


def test_every_claim_about_instruments_is_a_check():
    claims = re.findall(r"^def test_(\w+)\(", CLAIMS.read_text(encoding="utf-8"), re.MULTILINE)
    assert set(claims) - NOT_OF_THIS_MODEL == set(CHECKS)


def test_the_page_is_generated_from_the_table():
    assert evidence.read(NAME) == table(read_incidents()), "run `make docs` and commit what it writes"
