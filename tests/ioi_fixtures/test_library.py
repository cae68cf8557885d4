"""A model's own circuit is found by the name of either, and a file of somebody's comes first."""

from pathlib import Path

import pytest

from ioi_fixtures.circuits.circuit_file import read_circuit
from ioi_fixtures.circuits.library import FILE, FOLDER, own_circuit, path_of, shown
from ioi_fixtures.pytest_fixtures.subjects import KNOWN

OURS = sorted(path.parent.name for path in FOLDER.glob(f"*/{FILE}"))


@pytest.mark.parametrize("name", OURS)
def test_every_circuit_can_be_read_and_says_whose_it_is(name):
    circuit = read_circuit(FOLDER / name / FILE)
    assert circuit.source
    assert (FOLDER / name / "README.md").is_file()
    assert own_circuit([name]) == path_of(Path(name)) == FOLDER / name / FILE
    assert shown(FOLDER / name / FILE) == f"{name}/{FILE}"
    for asked in (str(circuit.model), f"{circuit.model}@step10"):
        assert own_circuit([asked]) == FOLDER / name / FILE


def test_a_model_without_a_circuit_of_its_own_has_none():
    for models in ([], ["planted"], ["nobody/no-such-model"], [OURS[0], "planted"]):
        assert own_circuit(models) is None


def test_a_file_of_that_name_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path(OURS[0]).touch()
    assert path_of(Path(OURS[0])) == Path(OURS[0])
    assert shown(tmp_path / "mine.toml") == "mine.toml"


def test_the_model_under_test_here_has_its_circuit():
    assert {name for name in KNOWN if own_circuit([name])} == {"smollm2-135m"}
