"""Models of other families as a user asks them: the claims about the tools hold, a circuit file is judged, and what
does not apply to a model is set aside by name."""

import json
import os

import pytest

from ioi_fixtures.controls.random_families import save_random_of
from ioi_fixtures.controls.random_model import save_random
from ioi_fixtures.planted.tokenizer import vocabulary
from tests.support.places import ROOT
from tests.support.warm_process import run_module

WORDS = vocabulary()[1:]  # but the special one
CIRCUIT = """
bos = true
[classes."mover"]
heads = "3.0 3.2"
at = "END"
attends_to = "IO"
writes = "answer"
reads = [{ from = "inhibition", input = "q" }]
[classes."inhibition"]
heads = "2.1 2.3"
at = "END"
attends_to = "S2"
reads = [{ from = "duplicate", input = "v" }, { from = "duplicate", input = "k" }]
[classes."duplicate"]
heads = "0.1 1.1"
at = "S2"
attends_to = "S1"
"""


def claims(folder, *arguments):
    command = ["pytest", "-p", "no:cacheprovider", *map(str, arguments), "--claims-report", str(folder)]
    return run_module(*command, folder=ROOT, environment={"HF_HUB_OFFLINE": "1", **os.environ})


def session_in(folder):
    return json.loads((folder / "claims.json").read_text())


@pytest.mark.parametrize(
    ("name", "aside"),
    [
        ("gpt_neox", ["2 claims are about a stream between"]),
        ("gemma2", ["1 claim is about an MLP beside"]),
        ("qwen2", ["1 claim is about an MLP beside"]),  # whose upper layers see neither name from the end
        ("opt", ["1 claim is about an MLP beside", "1 claim is about edits of an activation"]),
    ],
)
def test_the_claims_about_tools_hold_of_any_family(name, aside, tmp_path):
    save_random_of(name, tmp_path, words=WORDS)
    done = claims(tmp_path, "claims/test_instruments.py", "--claims-model", tmp_path)
    assert done.returncode == pytest.ExitCode.OK, done.stdout[-3000:]
    session = session_in(tmp_path)
    assert {claim["outcome"] for claim in session["claims"]} == {"passed"}
    assert len(session["claims"]) >= 60
    assert [said for said, note in zip(aside, session["not_measured"], strict=True) if said in note] == aside


def test_a_made_up_circuit_of_a_llama_is_judged_and_fails(tmp_path):
    save_random_of("llama", tmp_path, words=WORDS)
    (tmp_path / "circuit.toml").write_text(CIRCUIT)
    of_it = ["--claims-model", tmp_path, "--claims-circuit", tmp_path / "circuit.toml"]
    done = claims(tmp_path, "claims/", *of_it, "--claims-prompts", 24)
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout[-3000:]
    session = session_in(tmp_path)
    assert {claim["outcome"] for claim in session["claims"]} == {"passed", "failed"}
    of_circuit = [claim for claim in session["claims"] if "test_circuit_file" in claim["test"]]
    assert sum(claim["outcome"] == "failed" for claim in of_circuit) >= 20
    assert session["subjects"][0]["prepend_bos"] is True
    assert session["subjects"][0]["shape"] == "4 layers x 4 heads on 2 of keys and values, d_model 24"


def test_a_checkpoint_finds_what_was_published_of_its_model_at_its_step(tmp_path):
    """By the name in its config, and the step its folder is called by: here a random model, of which it is not true."""
    folder = tmp_path / "step1000"
    save_random_of("gpt_neox", folder, words=WORDS)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "_name_or_path": "EleutherAI/pythia-160m-deduped"}))
    done = claims(
        tmp_path, "claims/", "--claims-model", folder, "--claims-prompts", 24, "--ignore=claims/test_instruments.py"
    )
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout[-3000:]
    session = session_in(tmp_path / "narrowed" if (tmp_path / "narrowed").is_dir() else tmp_path)
    figures = {figure["published"]["id"]: figure for claim in session["claims"] for figure in claim["measurements"]}
    accuracy, difference = (figures[id] for id in ("behaviour/accuracy", "circuit-file/logit-difference"))
    assert (accuracy["published"]["says"], accuracy["published"]["accept"]["below"]) == (
        "40.7% of prompts at step 1000",
        0.5,
    )
    assert difference["published"]["says"] == "-.31 at step 1000"
    assert session["subjects"][0]["prepend_bos"] is True
    assert not any("stated_alone" in claim["test"] or "alone_does" in claim["test"] for claim in session["claims"])


def test_a_model_that_is_no_gpt2_cannot_be_asked_of_gpt2s_heads(tmp_path):
    save_random(tmp_path, n_layer=3, n_head=2, n_embd=16)
    done = claims(tmp_path, "claims/test_circuit.py", "--claims-model", tmp_path)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "claims name GPT-2 small's heads, and this is no GPT-2 of at least 12 layers" in done.stderr + done.stdout
    assert "write a circuit file" in done.stderr + done.stdout
