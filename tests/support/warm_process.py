"""A Python that starts in no time: without the ten seconds that it takes to import torch and TransformerLens.

A server imports once what takes long, and nothing of this project; every run is a fork of it, with arguments, a folder,
an environment and standard files of its own. So our code is imported, and a session set up and taken down, as from a
command line. `warm_python()` names an executable that takes `-m MODULE` or `-c CODE` as Python does; to a run that is
Python's own name, so that the workers of `pytest -n` are forks as well. One server serves all processes of a session.
Not as there are what libraries read from the environment while they are imported (HF_HOME, the number of threads, which
is one) and the seed of Python's hashes, which all runs share; and nothing registered with atexit is called. Tests that
are about any of that start Python from nothing.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import multiprocessing
import os
import runpy
import select
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import types
from collections.abc import Mapping
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import recv_handle
from pathlib import Path

import pytest

from tests.support.places import ROOT

MODULE = Path(__file__).relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
Fork = multiprocessing.get_context("fork").Process
LIBRARIES = ("hypothesis", "scipy.stats", "torch", "transformers", "transformer_lens.model_bridge")
VARIABLE = "WARM_PYTHON"


def run_module(*command: str, folder: Path, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """`python -m command` there, in a fork. Returns its exit status, standard output and error."""
    return _run(warm_python(), *command, folder=folder, environment=environment)


def start_module(*command: str, folder: Path, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """The same from nothing."""
    return _run(sys.executable, *command, folder=folder, environment=environment)


def _run(python: str, *command: str, folder: Path, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    asked = [python, "-m", *command]
    return subprocess.run(asked, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def warm_python() -> str:
    """The executable, of a server that ends with the process that first asked for it."""
    if VARIABLE not in os.environ:
        folder = tempfile.TemporaryDirectory(prefix="warm-")
        # One thread: a fork of a process that has others may wait for them for ever.
        environment = {"HF_HUB_OFFLINE": "1", **os.environ, "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", MODULE, folder.name]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        server = subprocess.Popen(command, cwd=ROOT, env=environment, start_new_session=True, **pipes)
        atexit.register(folder.cleanup)
        atexit.register(server.communicate)  # closes the pipe, on which the server ends, and waits for it
        os.environ[VARIABLE] = server.stdout.readline().strip()
    return os.environ[VARIABLE]


class Imports:
    """A plugin that imports LIBRARIES. Within a session, since pytest rewrites its plugins' assertions as they are
    imported, some of these are plugins, and a later session would complain of those that were imported before it."""

    def pytest_sessionstart(self) -> None:
        for name in LIBRARIES:
            importlib.import_module(name)


def serve(folder: Path) -> None:
    """Run what is asked for, any number at a time, until standard input ends. Says first what executable asks."""
    listener, python = socket.socket(socket.AF_UNIX), folder / "python"
    listener.bind(str(folder / "socket"))
    listener.listen()
    client = [sys.executable, "-IS", str(Path(__file__).with_name("warm_client.py")), str(folder / "socket")]
    python.write_text(f'#!/bin/sh\nexec {shlex.join(client)} "$@"\n', encoding="utf-8")
    python.chmod(0o700)
    print(python, flush=True)
    with tempfile.TemporaryDirectory() as empty:
        options = ["-p", "no:terminal", "-p", "no:cacheprovider", "-c", os.devnull]
        pytest.main([*options, empty], plugins=[Imports()])
    gc.freeze()  # else a fork's first collection touches, and so copies, all that it shares with the server
    while sys.stdin not in (ready := select.select([listener, sys.stdin], [], [])[0]):
        for _ in ready:
            connection = Connection(listener.accept()[0].detach())
            Fork(target=look_after, args=(connection, str(python))).start()
            connection.close()
        multiprocessing.active_children()  # forgets those that have ended


def look_after(connection: Connection, python: str) -> None:
    """One run: answers its process id, and its exit status in the end. It ends as well where nobody waits any more."""
    arguments, folder, environment = connection.recv()
    files = [recv_handle(connection) for _ in range(3)]
    run = Fork(target=become, args=(python, arguments, folder, environment, files))
    run.start()
    for file in files:
        os.close(file)
    connection.send(run.pid)
    if connection in wait([connection, run.sentinel]):
        run.kill()
    else:
        run.join()
        connection.send(run.exitcode)


def become(python: str, arguments: list[str], folder: str, environment: dict[str, str], files: list[int]) -> None:
    """Make this process `python arguments`."""
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    unbuffered = arguments[0] == "-u"
    kind, what, *rest = arguments[1:] if unbuffered else arguments
    sys.stdin = os.fdopen(0, closefd=False)
    sys.stdout.reconfigure(line_buffering=os.isatty(1), write_through=unbuffered)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs are deaf to it
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    tempfile.tempdir = None  # where temporary files go was looked up in the server's environment
    named = filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))
    sys.executable, sys.argv, sys.path[:1] = python, [what if kind == "-m" else kind, *rest], [folder, *named]
    if kind == "-m":
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    else:
        main = sys.modules["__main__"] = types.ModuleType("__main__")
        exec(what, vars(main))


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
