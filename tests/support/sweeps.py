"""Sweeps for tests: folders of models, a sweep of them, and a driver in a process of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import psutil

from ioi_fixtures.trained import DIRECTORY
from lib.judging.measurements import as_json
from lib.sweep import command
from lib.sweep.command import Given
from tests.support.example_session import all_hold
from tests.support.places import ROOT

STAND_IN = Path(__file__).with_name("stand_in_suite.py")
SUITE = (sys.executable, "-m", "lib.sweep.leash", str(STAND_IN))
GIVEN = Given(built=(), circuit_path=lambda path: path, curves={"Copy score": ("movers/copy-score",)})
DRIVER = """
import sys
from tests.support.sweeps import GIVEN, SUITE
from lib.sweep import command
sys.exit(command.main(sys.argv[1:], GIVEN, program="sweep", suite=SUITE))
"""


def model(folder: Path, name: str, behaves: str = "") -> Path:
    """What looks like a model from outside, and what becomes of who asks it."""
    made = folder / name
    made.mkdir(parents=True)
    shutil.copy(DIRECTORY / "config.json", made)
    (made / "model.safetensors").touch()
    if behaves:
        (made / "behaves").write_text(behaves)
    return made


def session(folder: Path) -> None:
    """The report of whatever model of the folder."""
    text = as_json(all_hold()).replace('"second"', '"MODEL"').replace("[second]", "[MODEL]")
    (folder / "session.json").write_text(text)


def sweep_file(folder: Path, models: str, more: str = "") -> Path:
    """A sweep of models/…, one pattern a line."""
    groups = "".join(f'[[models]]\nmodel = "models/{one}"\n' for one in models.split())
    path = folder / "sweep.toml"
    path.write_text(f'results = "results"\n{more}\n{groups}')
    return path


def sweep(path: Path, *options: str) -> int:
    """Run it here, in this process and without Ray. Its exit status."""
    return command.main([str(path), "--engine", "local", "--cpus", "2", *options], GIVEN, program="sweep", suite=SUITE)


def driver(path: Path, *options: str, temporary: Path) -> subprocess.Popen:
    """Run it on Ray in a process of its own, which keeps temporary files there."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(temporary), "CI": "1"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    asked = [sys.executable, "-c", DRIVER, str(path), "--engine", "ray", "--cpus", "2", *options]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(asked, env=environment, cwd=path.parent, **pipes)


def processes_of(*places: Path) -> list[str]:
    """Command lines of processes that name one of these folders; this one's own and those of its parents aside."""
    ours = {os.getpid(), *(one.pid for one in psutil.Process().parents())}
    found = []
    for one in psutil.process_iter(["cmdline"]):
        line = " ".join(one.info["cmdline"] or ())
        if one.pid not in ours and any(str(place) in line for place in places):
            found.append(line)
    return found
