"""`python -m ...` in a process of its own, without the ten seconds that it takes to import torch and TransformerLens.

A server imports once what takes long, and nothing of this project; every run is a fork of it, with arguments, a folder
and an environment of its own. So our code is imported, and a session set up and taken down, as from a command line.
Not as there are what libraries read from the environment while they are imported (HF_HOME, the number of threads, which
is one) and the seed of Python's hashes, which all runs share; and nothing registered with atexit is called. Tests that
are about any of that start Python from nothing.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pytest

from tests.support.places import ROOT

MODULE = Path(__file__).relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
Fork = multiprocessing.get_context("fork").Process
LIBRARIES = ("hypothesis", "scipy.stats", "torch", "transformers", "transformer_lens.model_bridge")


def run_module(*command: str, folder: Path, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """`python -m command` there. Returns what subprocess.run would: exit status, standard output and error."""
    server = _server()
    with tempfile.TemporaryDirectory() as written:
        order = {"command": command, "folder": str(folder), "environment": dict(environment), "written": written}
        print(json.dumps(order), file=server.stdin, flush=True)
        status = server.stdout.readline()
        output, errors = (Path(written, name).read_text(encoding="utf-8") for name in ("output", "errors"))
    return subprocess.CompletedProcess(command, int(status), output, errors)


def start_module(*command: str, folder: Path, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """The same from nothing."""
    asked = [sys.executable, "-m", *command]
    return subprocess.run(asked, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@cache
def _server() -> subprocess.Popen[str]:
    """The server of this process."""
    # One thread: a fork of a process that has others may wait for them for ever.
    environment = {"HF_HUB_OFFLINE": "1", **os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", MODULE]
    pipes = {"text": True, "stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    server = subprocess.Popen(command, cwd=ROOT, env=environment, **pipes)
    atexit.register(server.communicate)  # closes the pipe, on which the server ends, and waits for it
    return server


class Imports:
    """A plugin that imports LIBRARIES. Within a session, since pytest rewrites its plugins' assertions as they are
    imported, some of these are plugins, and a later session would complain of those that were imported before it."""

    def pytest_sessionstart(self) -> None:
        for name in LIBRARIES:
            importlib.import_module(name)


def serve() -> None:
    """Run what is ordered, one after the other, and answer each with its exit status."""
    with tempfile.TemporaryDirectory() as empty:
        options = ["-p", "no:terminal", "-p", "no:cacheprovider", "-c", os.devnull]
        pytest.main([*options, empty], plugins=[Imports()])
    gc.freeze()  # else a fork's first collection touches, and so copies, all that it shares with the server
    for order in sys.stdin:
        child = Fork(target=become, kwargs=json.loads(order))
        child.start()
        child.join()
        print(child.exitcode, flush=True)


def become(command: list[str], folder: str, environment: dict[str, str], written: str) -> None:
    """Make this process `python -m command`."""
    for number, name in ((1, "output"), (2, "errors")):
        file = os.open(Path(written, name), os.O_WRONLY | os.O_CREAT)
        os.dup2(file, number)
        os.close(file)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    tempfile.tempdir = None  # where temporary files go was looked up in the server's environment
    named = filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))
    sys.argv, sys.path[:1] = command, [folder, *named]
    runpy.run_module(command[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    serve()
