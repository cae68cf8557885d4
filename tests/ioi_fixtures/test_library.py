"""A model's own circuit is found by the name of either, and a file of somebody's comes first."""

import json
from pathlib import Path

import pytest

from ioi_fixtures.circuits.circuit_file import HubModel, read_circuit
from ioi_fixtures.circuits.library import FILE, FOLDER, own_circuit, path_of, shown
from ioi_fixtures.circuits.own_figures import at_step
from ioi_fixtures.controls.random_families import save_random_of
from ioi_fixtures.published import FOLDER as PUBLISHED
from ioi_fixtures.pytest_fixtures.circuit_fixtures import with_stated_bands
from ioi_fixtures.pytest_fixtures.subjects import KNOWN
from lib.judging.references import read_references

OURS = sorted(path.parent.name for path in FOLDER.glob(f"*/{FILE}"))
FOUND = [name for name in OURS if isinstance(read_circuit(FOLDER / name / FILE).model, HubModel)]
REAL = "smollm2-135m"


@pytest.mark.parametrize("name", OURS)
def test_every_circuit_can_be_read_and_says_whose_it_is(name):
    circuit = read_circuit(FOLDER / name / FILE)
    assert circuit.source
    readme = (FOLDER / name / "README.md").read_text(encoding="utf-8")
    assert "Nothing was measured here" in " ".join(readme.split()) or name in (REAL, "gpt2-small")
    assert path_of(Path(name)) == FOLDER / name / FILE
    assert shown(FOLDER / name / FILE) == f"{name}/{FILE}"


@pytest.mark.parametrize("step", [None, 1000, 10000, 143000, 400000])
def test_every_figure_that_comes_with_a_circuit_is_of_a_claim(step):
    for name in OURS:
        circuit = read_circuit(FOLDER / name / FILE)
        with_stated_bands(read_references(PUBLISHED), circuit._replace(figures=at_step(circuit.figures, step)))


@pytest.mark.parametrize("name", FOUND)
def test_a_model_finds_its_circuit_by_name_step_or_config(name, tmp_path):
    ours, model = FOLDER / name / FILE, str(read_circuit(FOLDER / name / FILE).model)
    save_random_of("llama", tmp_path)
    config = tmp_path / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "_name_or_path": model}))
    for asked in (name, model, f"{model}@step10", str(tmp_path)):
        assert own_circuit([asked]) == ours


def test_what_names_its_model_in_words_is_asked_by_name_alone():
    assert {*OURS} - {*FOUND} == {"gpt2-small", "stanford-crfm-alias"}
    for models in (["gpt2-small"], ["openai-community/gpt2"], ["stanford-crfm/alias-gpt2-small-x21"]):
        assert own_circuit(models) is None


def test_a_model_without_a_circuit_of_its_own_has_none(tmp_path):
    for models in ([], ["planted"], ["nobody/no-such-model"], [str(tmp_path)], [REAL, "planted"]):
        assert own_circuit(models) is None


def test_a_file_of_that_name_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path(OURS[0]).touch()
    assert path_of(Path(OURS[0])) == Path(OURS[0])
    assert shown(tmp_path / "mine.toml") == "mine.toml"


def test_the_model_under_test_here_has_its_circuit():
    assert {name for name in KNOWN if own_circuit([name])} == {REAL}
