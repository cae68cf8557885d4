"""A sweep without Ray: what it leaves, what it does when it is asked again, and its exit statuses."""

import csv
import json
import signal
import subprocess
import sys
import time

import pytest

from lib.sweep.command import NOT_ALL, TERMINATED, USAGE
from lib.sweep.results import Outcome
from tests.support import sweeps
from tests.support.places import ROOT
from tests.support.sweeps import model, processes_of, session, sweep, sweep_file


@pytest.fixture
def folder(tmp_path):
    for name in ("step1", "step20"):
        model(tmp_path / "models", name)
    session(tmp_path / "models")
    return tmp_path


def outcome(folder, name):
    return Outcome.model_validate_json((folder / "results" / "runs" / name / "outcome.json").read_text())


def test_every_model_is_asked_and_all_that_is_written_says_the_same(folder, capsys):
    assert sweep(sweep_file(folder, "step{1,20}")) == 0
    assert "2 of 2 models were asked" in capsys.readouterr().out
    written = json.loads((folder / "results" / "sweep.json").read_text())
    assert [(one["name"], one["step"]) for one in written["columns"]] == [("models@step1", 1), ("models@step20", 20)]
    rows = list(csv.DictReader((folder / "results" / "sweep.csv").open()))
    assert {row["model"] for row in rows} == {"models@step1", "models@step20"}
    page = (folder / "results" / "sweep.html").read_text()
    assert 'href="runs/models@step20/claims.html#models%40step20/movers/copies' in page
    assert outcome(folder, "models@step1").attempts == 1


def test_the_same_command_again_asks_what_is_missing_damaged_or_new(folder):
    path = sweep_file(folder, "step{1,20}")
    assert sweep(path) == 0
    (folder / "results" / "runs" / "models@step20" / "claims.json").write_text("{")
    model(folder / "models", "step300")
    before = outcome(folder, "models@step1")
    assert sweep(sweep_file(folder, "step{1,20,300}")) == 0
    assert outcome(folder, "models@step1") == before
    assert outcome(folder, "models@step20").started >= before.started
    json.loads((folder / "results" / "runs" / "models@step20" / "claims.json").read_text())
    assert len(json.loads((folder / "results" / "sweep.json").read_text())["columns"]) == 3


@pytest.mark.parametrize(
    ("more", "says"), [("seed = 1", "seed: 0 -> 1"), ('claims = "copies"', "-k: nothing -> copies")]
)
def test_what_is_asked_otherwise_is_refused_without_again(more, says, folder, capsys):
    assert sweep(sweep_file(folder, "step{1,20}")) == 0
    path = sweep_file(folder, "step{1,20}", more)
    assert sweep(path) == USAGE
    said = capsys.readouterr().err
    assert says in said
    assert "add --again" in said
    assert sweep(path, "--again") == 0


def test_a_circuit_file_that_changed_is_noticed_by_what_it_holds(folder, capsys):
    (folder / "c.toml").write_text("one")
    path = sweep_file(folder, "step1", 'circuit = "c.toml"')
    assert sweep(path) == 0
    assert sweep(path) == 0
    (folder / "c.toml").write_text("other")
    assert sweep(path) == USAGE
    assert "circuit: " in capsys.readouterr().err


def test_weights_that_changed_are_noticed(folder, capsys):
    path = sweep_file(folder, "step1")
    assert sweep(path) == 0
    written = folder / "models" / "step1" / "model.safetensors"
    import os

    os.utime(written, (time.time() + 100, time.time() + 100))
    assert sweep(path) == USAGE
    assert "weights of: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("behaves", "kind", "says"),
    [
        ("corrupt", "could not be asked", "corrupt cannot be tested: the file is damaged"),
        ("runs out of memory", "out of memory", "CUDA out of memory. Tried to allocate 2.00 GiB"),
        ("dies", "died", "ended by SIGSEGV"),
    ],
)
def test_what_became_of_one_model_is_recorded_and_the_others_are_asked(behaves, kind, says, folder, capsys):
    model(folder / "models", "bad", behaves)
    assert sweep(sweep_file(folder, "bad step1")) == NOT_ALL
    found = outcome(folder, "bad")
    assert (found.kind, outcome(folder, "models@step1").kind) == (kind, "ran")
    assert says in found.message
    assert says in " ".join(capsys.readouterr().err.split())
    assert says in (folder / "results" / "sweep.html").read_text()
    assert found.attempts == (3 if kind == "died" else 1)
    (folder / "models" / "bad" / "behaves").unlink()
    assert sweep(sweep_file(folder, "bad step1"), "--again") == 0


def test_what_takes_too_long_or_too_much_memory_is_ended(folder):
    model(folder / "models", "slow", "hangs")
    model(folder / "models", "large", "takes memory")
    path = folder / "sweep.toml"
    path.write_text(
        'results = "results"\n[[models]]\nmodel = "models/slow"\nminutes = 0.02\n'
        '[[models]]\nmodel = "models/large"\nmemory = "500MB"\n'
    )
    assert sweep(path) == NOT_ALL
    assert outcome(folder, "slow").message == "it took longer than 1.2 s"
    assert outcome(folder, "large").kind == "out of memory"
    assert outcome(folder, "large").peak_bytes > 500e6
    assert processes_of(folder) == []


def test_a_model_that_cannot_be_had_is_recorded(folder):
    assert sweep(sweep_file(folder, "absent step1").rename(folder / "other.toml")) == NOT_ALL
    assert outcome(folder, "absent").kind == "cannot be had"


def test_a_dry_run_lists_models_with_sizes_and_what_cannot_be_had(folder, capsys):
    assert sweep(sweep_file(folder, "step1 ./absent"), "--dry-run") == NOT_ALL
    said = capsys.readouterr().out
    assert "models@step1: missing, would be asked; 0.0 MB" in said
    assert "absent: missing, would be asked; cannot be had: there is no directory" in said
    assert not (folder / "results").exists()


def test_drift_has_an_exit_status_of_its_own(folder):
    text = (folder / "models" / "session.json").read_text()
    path = sweep_file(folder, "step{1,20}", 'against = "first"')
    assert sweep(path) == 0
    (folder / "models" / "session.json").write_text(text.replace('"passed"', '"failed"'))
    (folder / "results" / "runs" / "models@step20" / "outcome.json").unlink()
    assert sweep(path) == 3


def test_results_go_to_any_url(folder, tmp_path):
    path = sweep_file(folder, "step1")
    path.write_text(path.read_text().replace('"results"', '"memory://swept"'))
    assert sweep(path) == 0
    import fsspec

    files = fsspec.filesystem("memory")
    assert {name.rpartition("/")[2] for name in files.ls("/swept", detail=False)} >= {"sweep.html", "runs"}
    assert files.exists("/swept/runs/models@step1/outcome.json")
    assert sweep(path) == 0


def test_a_url_without_a_driver_is_refused(folder, capsys):
    path = sweep_file(folder, "step1")
    path.write_text(path.read_text().replace('"results"', '"nosuch://swept"'))
    assert sweep(path) == USAGE
    assert "nosuch" in capsys.readouterr().err


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, TERMINATED), (signal.SIGKILL, -signal.SIGKILL)])
def test_a_sweep_that_is_stopped_leaves_valid_results_and_no_process(number, status, folder):
    model(folder / "models", "waits", "waits at first")
    path = sweep_file(folder, "step1 waits")
    asked = [sys.executable, "-c", sweeps.DRIVER, str(path), "--engine", "local", "--cpus", "1"]
    begun = subprocess.Popen(asked, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE)
    wait_for(folder / "models" / "waits" / "asked", begun)
    begun.send_signal(number)
    begun.communicate(timeout=60)
    assert begun.returncode == status
    assert outcome(folder, "models@step1").kind == "ran"
    assert not (folder / "results" / "runs" / "waits" / "outcome.json").exists()
    for _ in range(100):
        if not (left := processes_of(folder)):
            break
        time.sleep(0.1)
    assert left == []
    assert sweep(path) == 0


def wait_for(path, process):
    while not path.exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
