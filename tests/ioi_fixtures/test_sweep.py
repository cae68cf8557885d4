"""A sweep that asks the real suite: two checkpoints of a small model, forked and from nothing, with equal figures."""

import json
import re
import shutil

import pytest

from ioi_fixtures.sweep.__main__ import CURVES, main
from ioi_fixtures.sweep.training import FOLDER, SEEDS, STEPS_KEPT
from ioi_fixtures.trained import DIRECTORY
from lib.judging.measurements import Session
from lib.judging.references import read_references
from lib.sweep.plan import read_plan
from tests.support.places import ROOT

MODEL = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
SWEEP = """
results = "{results}"
circuit = "{circuit}"
claims = "test_the_model_does_the_task or answered_right"
prompts = 24
one_look = true
backend = "plain"
device = "{device}"
[[models]]
model = "seed0/step*"
"""


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """The folder of a sweep that has run."""
    folder = tmp_path_factory.mktemp("swept")
    for step in (1, 20):
        (folder / "seed0" / f"step{step}").mkdir(parents=True)
        for name in MODEL:
            shutil.copy(DIRECTORY / name, folder / "seed0" / f"step{step}")
    assert sweep(folder, "forked", "cpu") == 0
    return folder


def sweep(folder, results, device):
    path = folder / f"{results}.toml"
    path.write_text(SWEEP.format(results=results, circuit=DIRECTORY / "circuit.toml", device=device))
    return main([str(path), "--engine", "local", "--cpus", "1"])


def session(folder, results, name="seed0@step1"):
    return Session.model_validate_json((folder / results / "runs" / name / "claims.json").read_bytes())


def test_every_model_has_its_own_report_and_the_page_leads_to_its_claims(swept):
    page = (swept / "forked" / "sweep.html").read_text(encoding="utf-8")
    links = set(re.findall(r'href="(runs/[^"#]+)#([^"]+)"', page))
    assert len(links) == 4
    for path, address in links:
        own = (swept / "forked" / path).read_text(encoding="utf-8")
        assert f'id="{address.replace("%40", "@")}"' in own


def test_the_record_has_curves_and_who_leads_each_role(swept):
    made = json.loads((swept / "forked" / "sweep.json").read_text(encoding="utf-8"))
    assert [curve["title"] for curve in made["curves"]] == ["Logit difference", "Accuracy"]
    roles = {role["title"]: role["leads"]["seed0@step1"]["head"] for role in made["roles"]}
    assert roles["Attention from END to S2 (S-inhibition)"] == "2.0"
    assert {"Attention from S2 to S1 (duplicate token)", "Direct attribution"} <= {*roles}
    assert made["steps"][0]["changes"] == []  # both are the same model


def test_started_from_nothing_a_run_finds_the_same_to_the_last_bit(swept):
    """No GPU is there to be used, so `auto` is the CPU as well, in a process that is no fork."""
    shutil.rmtree(swept / "seed0" / "step20")
    assert sweep(swept, "started", "auto") == 0
    one, other = (session(swept, results) for results in ("forked", "started"))
    for claim, again in zip(one.claims, other.claims, strict=True):
        assert claim.measurements == again.measurements


def test_every_curve_is_of_figures_that_there_are():
    published = read_references(ROOT / "ioi_fixtures" / "published")
    assert [id for ids in CURVES.values() for id in ids if id not in published] == []


def test_the_sweep_of_the_models_trained_here_can_be_read(monkeypatch, tmp_path):
    text = (ROOT / "ioi_fixtures" / "sweep" / "sweep.toml").read_text(encoding="utf-8")
    for seed in SEEDS:
        for step in STEPS_KEPT:
            (tmp_path / f"seed{seed}" / f"step{step}").mkdir(parents=True)
    (tmp_path / "sweep.toml").write_text(text.replace("../../reports/training", str(tmp_path)))
    made = read_plan(tmp_path / "sweep.toml")
    assert len(made.models) == 48
    assert {one.line for one in made.models} == {"seed 0", "seed 1", "seed 2"}
    assert FOLDER == ROOT / "reports" / "training"
