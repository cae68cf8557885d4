"""What cannot be a model of ours is refused at once: before torch is imported, and so in the time that pytest takes."""

import json
import os
import subprocess
import sys

import pytest

from ioi_fixtures.pytest_fixtures.model_option import NAMED, asked_for
from ioi_fixtures.pytest_fixtures.subjects import subject
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
        ({"model_type": "llama"}, "holds a 'llama' model: the instruments cover model_type 'gpt2' alone"),
        ({"model_type": "gpt2", "add_cross_attention": True}, "'add_cross_attention': true, which changes"),
        ({"model_type": "gpt2"}, "has no *.safetensors"),
    ],
    ids=["llama", "a key", "no tensors"],
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


def test_the_models_of_a_command_line_are_those_that_pytest_reads():
    asked = asked_for(["claims/", "--claims-model", "planted", "-k", "x", "--claims-model=./a=b", "--claims-seed", "1"])
    assert sorted(asked) == ["./a=b", "planted"]
    assert asked_for(["claims/", "--claims-model"]) == []


def test_subjects_with_a_name_are_known():
    assert {name: subject(name).source for name in NAMED} == NAMED
