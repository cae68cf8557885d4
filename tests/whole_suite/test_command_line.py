"""What a user types: usage errors say what to do, wrong models fail the claims, and nothing passes in silence."""

import json
import os
import shutil

import pytest
import torch

from ioi_fixtures import planted
from ioi_fixtures.controls.absence import OF_ABSENCE
from tests.support.places import ROOT
from tests.support.stored_models import stated
from tests.support.warm_process import run_module

without_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")


def claims(*arguments, report=None, start=run_module):
    """Runs `pytest claims/` in a process of its own. Returns it, with output and return code."""
    command = ["pytest", "claims/", "-p", "no:cacheprovider", *arguments]
    if report:
        command += ["--claims-report", str(report)]
    environment = {"HF_HUB_OFFLINE": "1", **os.environ}
    return start(*command, folder=ROOT, environment=environment)


@without_gpu
def test_asking_for_a_gpu_where_there_is_none_is_a_usage_error(tmp_path):
    done = claims("-m", "gpu", report=tmp_path)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "gpt2-small cannot be tested" in done.stderr + done.stdout
    assert "CUDA" in done.stderr + done.stdout


@without_gpu
def test_a_gpu_asked_for_by_device_is_a_usage_error_too(tmp_path):
    done = claims("--claims-device", "cuda:1", report=tmp_path)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "'cuda:1'" in done.stderr + done.stdout


def test_a_model_with_fewer_layers_than_it_stores_is_a_usage_error(tmp_path):
    small = tmp_path / "small"
    shutil.copytree(planted.directory(), small)
    stated(small, n_layer=6)
    done = claims("--claims-model", str(small), report=tmp_path)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "has no place in the model" in done.stderr + done.stdout
    assert "of 6 layers (n_layer)" in done.stderr + done.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--claims-prompts", "3"), "whole number of at least 24"),
        (("--claims-memory", "plenty"), "'plenty' is no memory size: give a number and one of B, kB, MB"),
        (("--claims-dtype", "int8"), "invalid choice: 'int8'"),
    ],
)
def test_an_option_that_makes_no_sense_is_a_usage_error(arguments, says, tmp_path):
    done = claims(*arguments, report=tmp_path)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert says in done.stderr + done.stdout


def test_every_positive_claim_fails_on_a_random_model_and_says_why(random_directory, tmp_path):
    done = claims("--claims-model", str(random_directory), "--claims-prompts", "24", report=tmp_path)
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout[-2000:]
    session = json.loads((tmp_path / "claims.json").read_text())
    assert {claim["outcome"] for claim in session["claims"]} <= {"passed", "failed"}
    positive = [
        claim
        for claim in session["claims"]
        if not claim["sentence"].startswith("Control:") and not any(word in claim["test"] for word in OF_ABSENCE)
    ]
    assert len(positive) >= 50
    shares = [claim for claim in session["claims"] if "does not do the task" in claim["reason"]]
    for claim in positive:
        assert claim["outcome"] == "failed", claim["test"]
        if claim not in shares:
            for word in ("measured", "accepted", "published"):
                assert word in claim["reason"], claim["test"]
    assert len({claim["reason"] for claim in shares}) == 2  # of the logit difference; of it less the corrupted run's
    files = ("test_activation_patching.py", "test_circuit.py", "test_paths.py")
    dividing = [claim for claim in session["claims"] if any(file in claim["test"] for file in files)]
    assert [claim for claim in dividing if claim not in shares] == []  # controls too
    assert [claim for claim in shares if claim["measurements"]] == []
