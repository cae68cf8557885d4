"""A sweep on real Ray with two CPUs: workers that die, a driver that is killed, and nothing that is left behind."""

import json
import shutil
import signal
import tempfile
import time
from pathlib import Path

import pytest

from lib.sweep.command import NOT_ALL, TERMINATED
from lib.sweep.results import Outcome
from tests.support.sweeps import driver, model, processes_of, session, sweep, sweep_file

PATIENCE = 120  # seconds


@pytest.fixture
def temporary():
    """A folder for temporary files, with a short name: Ray makes sockets there."""
    folder = Path(tempfile.mkdtemp(prefix="s", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def folder(tmp_path):
    model(tmp_path / "models", "well")
    session(tmp_path / "models")
    return tmp_path


def outcome(folder, name):
    return Outcome.model_validate_json((folder / "results" / "runs" / name / "outcome.json").read_text())


def nothing_is_left(*folders, temporary):
    """Whether processes and temporary files go away, which takes a moment where nobody could see to it."""
    for _ in range(300):
        if not processes_of(*folders, temporary) and not list(temporary.iterdir()):
            return True
        time.sleep(0.1)
    return False


def test_one_that_is_corrupt_one_that_hangs_and_one_that_takes_its_worker_down(folder, temporary):
    for name, behaves in {"corrupt": "corrupt", "hangs": "hangs", "kills": "kills its worker at first"}.items():
        model(folder / "models", name, behaves)
    path = folder / "sweep.toml"
    groups = [f'[[models]]\nmodel = "models/{name}"\n' for name in ("corrupt", "kills", "well")]
    slow = '[[models]]\nmodel = "models/hangs"\nminutes = 0.05\n'
    path.write_text('results = "results"\n' + "".join(groups) + slow)
    begun = driver(path, temporary=temporary)
    said, _ = begun.communicate(timeout=PATIENCE)
    assert begun.returncode == NOT_ALL, said
    kinds = {name: outcome(folder, name).kind for name in ("well", "kills", "corrupt", "hangs")}
    assert kinds == {"well": "ran", "kills": "ran", "corrupt": "could not be asked", "hangs": "took too long"}, said
    assert "corrupt: could not be asked: corrupt cannot be tested: the file is damaged" in said
    assert len(json.loads((folder / "results" / "sweep.json").read_text())["columns"]) == 4
    assert nothing_is_left(folder, temporary=temporary), processes_of(folder, temporary)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, TERMINATED), (signal.SIGKILL, -signal.SIGKILL)])
def test_a_driver_that_is_stopped_or_killed_leaves_valid_results_and_nothing_else(number, status, folder, temporary):
    waits = model(folder / "models", "waits", "waits at first")
    path = sweep_file(folder, "well waits")
    begun = driver(path, temporary=temporary)
    while not ((waits / "asked").exists() and (folder / "results" / "runs" / "well" / "outcome.json").exists()):
        assert begun.poll() is None, begun.communicate()
        time.sleep(0.05)
    begun.send_signal(number)
    said, _ = begun.communicate(timeout=PATIENCE)
    assert begun.returncode == status, said
    assert nothing_is_left(folder, temporary=temporary), (processes_of(folder, temporary), list(temporary.iterdir()))
    assert outcome(folder, "well").kind == "ran"
    assert not (folder / "results" / "runs" / "waits" / "outcome.json").exists()
    assert sweep(path) == 0  # the same command goes on, with Ray or without
    assert outcome(folder, "waits").kind == "ran"


def test_what_no_machine_here_has_room_for_is_refused(folder, temporary):
    path = folder / "sweep.toml"
    path.write_text('results = "results"\n[[models]]\nmodel = "models/well"\ngpus = 4\n')
    begun = driver(path, temporary=temporary)
    said, _ = begun.communicate(timeout=PATIENCE)
    assert begun.returncode == 2, said
    assert "well asks for 4.0 GPU, and here are 0" in said
    assert nothing_is_left(folder, temporary=temporary)
