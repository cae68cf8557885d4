"""The search finds no circuit where there is none, and writes none that does not hold on prompts it did not see."""

import sys

import pytest
import torch
from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel

from ioi_fixtures import planted
from ioi_fixtures.circuits.circuit_file import read_circuit
from ioi_fixtures.trained import DIRECTORY, find
from lib.models.heads import Head
from lib.models.model import load


@pytest.fixture
def fewer(monkeypatch):
    """Enough prompts for a verdict, on which a run takes a second."""
    monkeypatch.setattr(find, "PROMPTS", 1000)


def run(directory, monkeypatch):
    """`python -m ioi_fixtures.trained.find DIRECTORY`: its exit status."""
    monkeypatch.setattr(sys, "argv", ["find", str(directory)])
    with pytest.raises(SystemExit) as ended:
        find.main()
    return ended.value.code


@pytest.mark.parametrize("spread", [0.02, 0.3])
def test_a_random_model_has_no_circuit(spread, fewer, tmp_path, monkeypatch, capsys):
    tokenizer = AutoTokenizer.from_pretrained(planted.directory())
    torch.manual_seed(0)
    shape = {"n_layer": 2, "n_head": 4, "n_embd": 64, "n_positions": 64, "vocab_size": len(tokenizer)}
    GPT2LMHeadModel(GPT2Config(**shape, initializer_range=spread)).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    before = sorted(path.name for path in tmp_path.iterdir())
    capsys.readouterr()
    assert run(tmp_path, monkeypatch) == 1
    [said] = capsys.readouterr().err.splitlines()
    assert "does not do the task, so there is no circuit to find: mean logit difference" in said
    assert "(N = 1000); right on" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_what_does_not_hold_on_other_prompts_is_not_written(fewer, tmp_path, monkeypatch, capsys):
    """As where the search has followed what its own prompts happen to have: here it is made to find one head alone."""
    for step in ("backwards", "prune"):
        monkeypatch.setattr(find, step, lambda search: None)
    monkeypatch.setattr(find, "complete", lambda search: search.found.add((Head(2, 0), "END")))
    for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).symlink_to(DIRECTORY / name)
    assert run(tmp_path, monkeypatch) == 1
    assert "does not hold on prompts that the search did not see: alone it has" in capsys.readouterr().err
    assert not (tmp_path / "circuit.toml").exists()


def test_a_circuit_that_holds_is_checked_on_prompts_of_another_seed(fewer):
    model = load(DIRECTORY, device="cpu")
    search = find.Search(model, find.PROMPTS, find.SEED, read_circuit(DIRECTORY / "circuit.toml").places)
    unseen = find.check(search)
    assert unseen.n == find.UNSEEN
    assert unseen.value != pytest.approx(float(search.alone([search.found])), rel=1e-4)  # of other prompts
    assert f"# On prompts that the search did not see they have {unseen}." in find.as_toml(search, unseen)
