"""Processes that run the suite on one model: started from nothing, or forked from one that has imported everything.

To start Python and import torch takes longer than a small model's claims, so runs on the CPU are forks of a server that
imports once. A fork of a process that has seen a GPU cannot use it, so runs that may are started from nothing. Either
kind ends when whoever started it does: a pipe that its owner holds open is its leash.

The server: `python -m lib.sweep.processes MAIN` loads the function `main` of that file, collects the claims of a first
request once, packs what every report has, and for each request, a line of JSON on its standard input, forks a run and
says its id and how it ended.
"""

from __future__ import annotations

import gc
import json
import os
import runpy
import select
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple, Protocol


class Exit(NamedTuple):
    """How a process ended: its status, that of a signal negative, and the most memory it held, in bytes."""

    status: int
    peak_bytes: int


class Process(Protocol):
    """One that runs."""

    pid: int

    def ended(self) -> Exit | None:
        """How it ended, if it has."""

    def kill(self) -> None:
        """End it, and all it started, now."""


class Started:
    """A process started from nothing."""

    def __init__(self, command: Sequence[str], folder: Path, log: Path, environment: Mapping[str, str]) -> None:
        with log.open("wb") as file:
            self._process = subprocess.Popen(
                command,
                cwd=folder,
                env=environment,
                stdin=subprocess.PIPE,  # the leash
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        self.pid = self._process.pid

    def ended(self) -> Exit | None:
        pid, status, used = os.wait4(self.pid, os.WNOHANG)
        if not pid:
            return None
        self._process.returncode = os.waitstatus_to_exitcode(status)
        self._process.stdin.close()
        return Exit(self._process.returncode, used.ru_maxrss * 1024)  # Linux counts KiB

    def kill(self) -> None:
        if self._process.returncode is None:
            _kill_group(self.pid)
            self._process.wait()
        self._process.stdin.close()


class Server:
    """Forks runs, one at a time. It is started when it is first needed, and again where it was of another kind."""

    def __init__(self) -> None:
        self._kind: tuple | None = None
        self._process: subprocess.Popen | None = None
        self._leash: int | None = None

    def fork(self, command: Sequence[str], folder: Path, log: Path, environment: Mapping[str, str]) -> Forked:
        """A run of `command`, which names Python, `-m`, the leash, a file with a function `main`, and its arguments."""
        python, _, _, main, *arguments = command
        kind = (python, main, environment["OMP_NUM_THREADS"])
        if kind != self._kind or self._process.poll() is not None:
            self.close()
            self._open(python, main, environment)
            self._kind = kind
        asked = {"arguments": arguments, "folder": str(folder), "log": str(log), "environment": dict(environment)}
        self._process.stdin.write(json.dumps(asked).encode() + b"\n")
        said = self._process.stdout.readline()
        if not said:
            raise OSError(f"the process that runs are forked from ended with status {self._process.wait()}")
        return Forked(json.loads(said)["pid"], self._process)

    def _open(self, python: str, main: str, environment: Mapping[str, str]) -> None:
        held, self._leash = os.pipe()
        self._process = subprocess.Popen(
            [python, "-m", "lib.sweep.processes", main, str(held)],
            cwd="/",
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            pass_fds=(held,),
            start_new_session=True,
            bufsize=0,  # a line is read and no more: what else is there, `Forked.ended` has to see
        )
        os.close(held)

    def close(self) -> None:
        """End the server, and what it still runs."""
        if self._process is not None:
            os.close(self._leash)
            self._process.stdin.close()
            self._process.stdout.close()
            self._process.wait()
            self._process = self._kind = self._leash = None


class Forked:
    """A fork of a server."""

    def __init__(self, pid: int, server: subprocess.Popen) -> None:
        self.pid = pid
        self._server = server
        self._exit: Exit | None = None

    def ended(self) -> Exit | None:
        if self._exit is None and select.select([self._server.stdout], [], [], 0)[0]:
            said = self._server.stdout.readline()  # nothing where the server itself died
            self._exit = Exit(*json.loads(said)) if said else Exit(-signal.SIGKILL, 0)
        return self._exit

    def kill(self) -> None:
        if self._exit is None:
            _kill_group(self.pid)
            self._server.stdout.readline()


@cache
def server_of_this_process() -> Server:
    """The one that a worker of a cluster keeps, as it does one task after the other. It ends with the worker."""
    return Server()


def _kill_group(pid: int) -> None:
    for kill in (os.killpg, os.kill):  # one that has only just begun has no group yet
        with suppress(ProcessLookupError):  # it has ended by itself
            kill(pid, signal.SIGKILL)


def end_with(leash: int) -> None:
    """From now on this process ends when the other end of a pipe is closed, to which nothing is ever written."""

    def wait() -> None:
        os.read(leash, 1)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=wait, daemon=True).start()


def _serve(main: str, leash: int) -> None:
    from lib.reports import html_report  # here, since it takes long and whoever starts a server needs none of it

    suite, answers = runpy.run_path(main, run_name="suite")["main"], os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the suite prints is no answer
    collected = False
    while line := sys.stdin.readline():
        asked = json.loads(line)
        if not collected:
            os.chdir(asked["folder"])
            suite([*asked["arguments"], "--collect-only"])
            shutil.rmtree(".hypothesis", ignore_errors=True)
            html_report.packed(html_report.plotly())
            gc.freeze()  # else a fork's first collection touches, and so copies, all that it shares with this process
            collected = True
        pid = os.fork()
        if pid == 0:
            _become(suite, leash, **asked)
        print(json.dumps({"pid": pid}), file=answers, flush=True)
        _, status, used = os.wait4(pid, 0)
        print(json.dumps([os.waitstatus_to_exitcode(status), used.ru_maxrss * 1024]), file=answers, flush=True)


def _become(suite: object, leash: int, arguments: list, folder: str, log: str, environment: dict) -> None:
    """Make this fork a run of the suite. It never returns."""
    status = 3  # pytest's, of an error of its own
    try:
        os.setsid()
        end_with(leash)
        file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        for number, of in ((0, os.open(os.devnull, os.O_RDONLY)), (1, file), (2, file)):
            os.dup2(of, number)
        os.environ.clear()
        os.environ.update(environment)
        os.chdir(folder)
        status = int(suite(arguments))
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    _serve(sys.argv[1], int(sys.argv[2]))
