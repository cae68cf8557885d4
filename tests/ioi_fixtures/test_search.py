"""The search finds no circuit where there is none, and writes none that does not hold on prompts it did not see."""

import pytest
import torch
from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel

from ioi_fixtures import planted
from ioi_fixtures.circuits.circuit_file import read_circuit
from ioi_fixtures.search import __main__ as command
from ioi_fixtures.search import steps
from ioi_fixtures.search.as_toml import as_toml
from ioi_fixtures.search.search import Search
from ioi_fixtures.trained import DIRECTORY
from lib.models.heads import Head
from lib.models.model import load

PROMPTS = 1000  # enough for a verdict, on which a run takes a second


def run(directory, *arguments):
    """`circuit-claims find DIRECTORY`: its exit status."""
    try:
        return command.main([str(directory), "--prompts", str(PROMPTS), *arguments])
    except SystemExit as ended:
        return ended.code


@pytest.mark.parametrize("spread", [0.02, 0.3])
def test_a_random_model_has_no_circuit(spread, tmp_path, capsys):
    tokenizer = AutoTokenizer.from_pretrained(planted.directory())
    torch.manual_seed(0)
    shape = {"n_layer": 2, "n_head": 4, "n_embd": 64, "n_positions": 64, "vocab_size": len(tokenizer)}
    GPT2LMHeadModel(GPT2Config(**shape, initializer_range=spread)).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    before = sorted(path.name for path in tmp_path.iterdir())
    capsys.readouterr()
    assert run(tmp_path) == 1
    said = capsys.readouterr().err
    assert "does not do the task, so there is no circuit to find: mean logit difference" in said
    assert "(N = 1000); right on" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_what_does_not_hold_on_other_prompts_is_not_written(tmp_path, monkeypatch, capsys):
    """As where the search has followed what its own prompts happen to have: here it is made to find one head alone."""
    monkeypatch.setattr(steps, "prune", lambda search: None)
    monkeypatch.setattr(steps, "grow", lambda search: search.found.add((Head(2, 0), "END")))
    for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).symlink_to(DIRECTORY / name)
    assert run(tmp_path) == 1
    assert "does not hold on prompts that the search did not see: alone it has" in capsys.readouterr().err
    assert not (tmp_path / "circuit.toml").exists()


def test_a_circuit_that_holds_is_checked_on_prompts_of_another_seed():
    model = load(DIRECTORY, device="cpu")
    search = Search(model, PROMPTS, 1, read_circuit(DIRECTORY / "circuit.toml").places)
    search.dropped.append("1.1 at END: 0.4%")
    unseen = steps.check(search)
    assert unseen.n == steps.UNSEEN
    assert unseen.value != pytest.approx(float(search.alone([search.found])), rel=1e-4)  # of other prompts
    text = as_toml(search, unseen)
    assert f"# On prompts that the search did not see they have {unseen}." in text
    assert "nearly the same (share of the logit difference):\n#   1.1 at END: 0.4%\n" in text


def test_what_is_there_is_not_written_over(tmp_path, capsys):
    (tmp_path / "circuit.toml").write_text("mine", encoding="utf-8")
    assert run(DIRECTORY, "-o", str(tmp_path / "circuit.toml")) == 2
    assert "is there: name another file with -o, or add --overwrite" in capsys.readouterr().err
    assert (tmp_path / "circuit.toml").read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nobody/no-such-model"], "no hub model of that name"),
        ([str(DIRECTORY / "no-such")], "there is no directory"),
        ([str(DIRECTORY), "--prompts", "8"], "--prompts 8: at least 25 are needed"),
    ],
)
def test_what_cannot_be_searched_is_a_usage_error(arguments, says, capsys):
    with pytest.raises(SystemExit) as ended:
        command.main(arguments)
    assert ended.value.code == 2
    assert says in capsys.readouterr().err
