"""Where something is left behind or unsteady in a run of claims, the report names that, and not what it was seen by."""

import json
import os

import pytest

from tests.support.places import ROOT
from tests.support.warm_process import run_module

# Plugins that do to a session what someone careless does.
HOOK_LEFT = """
import pytest

@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    yield
    if item.name.startswith("test_the_model_prefers"):
        model = item._request.getfixturevalue("model")
        model.backend.library_model.add_hook("blocks.9.attn.hook_z", lambda z, hook: z)
"""
UNSTEADY = """
import torch
softmax = torch.nn.functional.softmax
torch.nn.functional.softmax = lambda x, dim, **named: softmax(x, dim) * (1 + 1e-6 * torch.rand(1))
"""
AUTOCAST = """
import pytest, torch

@pytest.fixture(autouse=True, scope="session")
def fast(record):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        yield
"""


def claims_of(plugin, folder):
    """The claims of a run beside a plugin of that text."""
    (folder / "careless.py").write_text(plugin)
    command = ["pytest", "claims/test_behaviour.py", "-p", "no:cacheprovider", "-p", "careless", "--claims-one-look"]
    command += ["--claims-model", "planted", "--claims-prompts", "24", "--claims-report", str(folder)]
    environment = {"HF_HUB_OFFLINE": "1", **os.environ, "PYTHONPATH": str(folder)}
    done = run_module(*command, folder=ROOT, environment=environment)
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout[-3000:] + done.stderr[-3000:]
    return json.loads((folder / "claims.json").read_text())["claims"]


def test_a_hook_that_a_claim_left_is_named_with_the_claim(tmp_path):
    reasons = [claim["reason"] for claim in claims_of(HOOK_LEFT, tmp_path) if claim["outcome"] == "error"]
    assert len(reasons) >= 2  # the claim's own, and those of claims that were asked of the spoilt model
    for reason in reasons:
        assert "after test_the_model_prefers_the_indirect_object[planted], <Model planted" in reason
        assert "(hooks at blocks.9.attn.hook_z): undo what was done to it" in reason


@pytest.mark.parametrize(
    ("plugin", "says"),
    [(UNSTEADY, "is not deterministic: asked the same again"), (AUTOCAST, "torch.autocast is on for cpu")],
    ids=["unsteady", "autocast"],
)
def test_what_spoils_every_claim_is_said_by_every_claim(plugin, says, tmp_path):
    found = claims_of(plugin, tmp_path)
    assert len(found) == 4
    for claim in found:
        assert claim["outcome"] == "error"
        assert says in claim["reason"]
        assert "hook or a changed weight" not in claim["reason"]
