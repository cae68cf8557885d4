"""What cannot be a model of ours is refused at once: before torch is imported, and so in the time that pytest takes."""

import json
import os
import subprocess
import sys

import pytest

from ioi_fixtures.pytest_fixtures.model_option import NAMED, asked_for, name_and_source
from ioi_fixtures.pytest_fixtures.subjects import Subject, subject
from tests.support.places import ROOT

RUN = """
import sys, pytest
status = pytest.main(["claims/", "-p", "no:cacheprovider", *sys.argv[1:]])
heavy = {"torch", "transformers", "transformer_lens", "huggingface_hub"} & set(sys.modules)
print("imported:", *sorted(heavy))
sys.exit(status)
"""


def claims(*arguments):
    command = [sys.executable, "-c", RUN, *arguments]
    return subprocess.run(command, cwd=ROOT, env=dict(os.environ), capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"model_type": "mamba"}, "holds a 'mamba' model, and the instruments cover the model types gpt2, "),
        ({"model_type": "gpt2", "add_cross_attention": True}, "'add_cross_attention': true, which changes"),
        ({"model_type": "gpt2"}, "has no *.safetensors"),
    ],
    ids=["mamba", "a key", "no tensors"],
)
def test_a_directory_is_refused_before_anything_is_imported(config, says, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(config))
    done = claims("--claims-model", str(tmp_path))
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert f"{tmp_path} cannot be tested: " in done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout.strip() == "imported:"


def test_a_mistyped_path_is_refused_before_anything_is_imported(tmp_path):
    done = claims(f"--claims-model={tmp_path}/gpt2")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert f"there is no directory {tmp_path}/gpt2" in done.stderr
    assert done.stdout.strip() == "imported:"


def test_a_mistyped_path_that_has_a_name_is_refused_before_anything_is_imported(tmp_path):
    done = claims("--claims-model", f"step1000={tmp_path}/gpt2")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert f"{tmp_path}/gpt2 cannot be tested: there is no directory {tmp_path}/gpt2" in done.stderr
    assert done.stdout.strip() == "imported:"


@pytest.mark.parametrize(
    ("asked", "means"),
    [
        ("step1000=models/gpt2", ("step1000", "models/gpt2")),
        ("ours=openai-community/gpt2", ("ours", "openai-community/gpt2")),
        ("ours=./a=b", ("ours", "./a=b")),
        ("./a=b", ("", "./a=b")),  # a name has no slash
        ("lr=1", ("", "lr=1")),  # a folder that is there
        ("lr=2", ("lr", "2")),
        ("=models", ("", "=models")),
        ("models=", ("", "models=")),
        ("planted", ("", "planted")),
    ],
)
def test_a_name_may_stand_before_a_model(asked, means, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lr=1").mkdir()
    assert name_and_source(asked) == means


def test_a_subject_is_called_what_it_was_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "checkpoint=1").mkdir()
    for asked in ("checkpoint=1", "./checkpoint=1"):
        assert subject(asked) == Subject("checkpoint=1", source=str(tmp_path / "checkpoint=1"))
    assert subject("ours=checkpoint=1") == Subject("ours", source=str(tmp_path / "checkpoint=1"))
    assert subject("ours=hub/model") == Subject("ours", source="hub/model")
    assert subject("ours=gpt2-small").source == NAMED["gpt2-small"]
    assert subject("ours=planted").directory() == subject("planted").directory()


def test_claims_are_asked_of_a_model_by_the_name_that_it_was_given():
    asked = ["--collect-only", "-q", "--claims-model", "ours=planted", "--claims-model", "ours=planted", "-k", "copies"]
    done = claims(*asked)
    assert done.returncode == pytest.ExitCode.OK, done.stdout + done.stderr
    ids = [line for line in done.stdout.splitlines() if "::" in line]
    assert ids
    assert all("[ours-" in id or "[ours]" in id for id in ids)


def test_the_models_of_a_command_line_are_those_that_pytest_reads():
    asked = asked_for(["claims/", "--claims-model", "planted", "-k", "x", "--claims-model=./a=b", "--claims-seed", "1"])
    assert sorted(asked) == ["./a=b", "planted"]
    assert asked_for(["claims/", "--claims-model"]) == []


def test_subjects_with_a_name_are_known():
    assert {name: subject(name).source for name in NAMED} == NAMED
