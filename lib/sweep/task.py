"""One model asked: a process that runs the ordinary suite on it, watched until it ends, and how it came out.

The process has a session of its own (lib/sweep/processes.py). It is ended where it takes longer or more memory
than it may, and with whoever waits for it. Imports nothing that takes long: on a cluster this is what workers run.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple

import psutil

from lib.models.config import CannotLoad
from lib.sweep import had
from lib.sweep.processes import Process, Server, Started
from lib.sweep.results import LOG, OUTCOME, REPORTS, Kind, Outcome, Results, digest

EVERY = 0.02  # seconds between two looks at a process: a small model is asked in a second or two
RETRIES = 2  # of a run whose process died; its worker or machine, where that did
TAIL = 64 * 1024  # bytes of a log in which the reason stands
RAN = (0, 1)  # pytest's exit statuses: all claims hold, or some do not
STOPPED = 2
NO_MEMORY = re.compile(r"(?:\w*OutOfMemoryError|MemoryError|can't allocate memory)[^\n]*", re.IGNORECASE)
# A session of pytest's own and a CI job's summary are the driver's. And Python compiles once: to do it for every model
# takes longer than a small one's claims.
NOT_PASSED_ON = ("GITHUB_STEP_SUMMARY", "PYTEST_ADDOPTS", "PYTEST_CURRENT_TEST", "PYTEST_XDIST_WORKER")
NOT_PASSED_ON += ("PYTHONDONTWRITEBYTECODE",)


class Job(NamedTuple):
    """One model to be asked, with everything that a worker has to know. Plain values: it travels."""

    name: str
    source: str
    results: str
    command: tuple[str, ...]  # the suite's, but for the model and where its reports go
    asked: dict[str, str]  # see Outcome
    tree: str  # the folder that `lib` is in
    cpus: int = 1
    gpus: float = 0
    memory: int | None = None  # bytes
    seconds: float | None = None
    is_forked: bool = False  # from a server that has imported everything: see lib/sweep/processes.py
    is_built_here: bool = False  # a subject that the suite builds, which is nowhere to be found
    drop_weights: bool = False  # remove from the cache what had to be fetched for this


class Ended(NamedTuple):
    """How the process ended."""

    status: int | None  # None where it was ended here
    reason: str  # why it was
    kind: Kind
    peak_bytes: int


def run(job: Job, server: Server, *, stopped: Callable[[], bool] = lambda: False) -> Outcome:
    """Ask the model, again where its process died, and keep its outcome. Raises OSError where the results cannot be
    written, and KeyboardInterrupt where it is `stopped`; then nothing is kept."""
    for attempt in range(1, RETRIES + 2):
        outcome = _once(job, stopped, server).model_copy(update={"attempts": attempt})
        if outcome.kind != "died":
            break
    Results(job.results).keep(outcome)
    return outcome


def _once(job: Job, stopped: Callable[[], bool], server: Server) -> Outcome:
    results, begun, clock = Results(job.results), datetime.now(timezone.utc), time.monotonic()

    def outcome(kind: Kind, message: str = "", peak: int = 0, sha256: dict[str, str] | None = None) -> Outcome:
        return Outcome(
            name=job.name,
            source=job.source,
            kind=kind,
            message=message,
            asked=job.asked,
            started=begun.isoformat(timespec="seconds"),
            seconds=round(time.monotonic() - clock, 2),
            peak_bytes=peak,
            machine=socket.gethostname(),
            sha256=sha256 or {},
        )

    try:
        with had.model(job.source, built=job.is_built_here, drop=job.drop_weights), _folder(results, job) as folder:
            ended = _watched(job, folder, stopped, server)
            said = _tail(folder / LOG)
            kind, message = _came_out(ended, said, folder)
            sha256 = {name: digest((folder / name).read_bytes()) for name in REPORTS} if kind == "ran" else {}
            results.take(folder, job.name)
            return outcome(kind, message, ended.peak_bytes, sha256)
    except CannotLoad as error:
        return outcome("cannot be had", str(error))


@contextmanager
def _folder(results: Results, job: Job) -> Iterator[Path]:
    """Where the suite writes: the model's folder of results, without what an earlier run left there."""
    there = results.folder(job.name)
    if there is None:
        with tempfile.TemporaryDirectory(prefix="sweep-") as folder:
            yield Path(folder)
        return
    there.mkdir(parents=True, exist_ok=True)
    for name in (OUTCOME, *REPORTS):
        (there / name).unlink(missing_ok=True)
    yield there


def _watched(job: Job, folder: Path, stopped: Callable[[], bool], server: Server) -> Ended:
    """Run the suite until it ends, or has to be ended."""
    environment = {key: value for key, value in os.environ.items() if key not in NOT_PASSED_ON}
    environment |= {"OMP_NUM_THREADS": str(job.cpus), "PYTHONPATH": job.tree, "PYTHONUNBUFFERED": "1"}
    command = [*job.command, "--claims-model", f"{job.name}={job.source}", "--claims-report", str(folder)]
    start = server.fork if job.is_forked else Started
    process = start(command, folder, folder / LOG, environment)
    try:
        return _until_it_ends(process, job, stopped)
    finally:
        process.kill()
        shutil.rmtree(folder / ".hypothesis", ignore_errors=True)  # what Hypothesis keeps for a next run here


def _until_it_ends(process: Process, job: Job, stopped: Callable[[], bool]) -> Ended:
    begun, held = time.monotonic(), 0
    while (found := process.ended()) is None:
        if stopped():
            raise KeyboardInterrupt("the sweep was stopped")
        held = max(held, now := _held(process.pid))
        if job.seconds is not None and time.monotonic() - begun > job.seconds:
            return Ended(None, f"it took longer than {job.seconds:g} s", "took too long", held)
        if job.memory is not None and now > job.memory:
            return Ended(None, f"it held {now:,} bytes, of {job.memory:,}", "out of memory", held)
        time.sleep(EVERY)
    return Ended(found.status, "", "ran", max(found.peak_bytes, held))


def _held(pid: int) -> int:
    try:
        return psutil.Process(pid).memory_info().rss
    except psutil.Error:
        return 0


def _came_out(ended: Ended, said: str, folder: Path) -> tuple[Kind, str]:
    if ended.status is None:
        return ended.kind, ended.reason
    if ended.status and (found := NO_MEMORY.search(said)):
        return "out of memory", found[0].strip()
    if ended.status == STOPPED:
        return "died", f"it was stopped: {_last_line(said)}"
    if ended.status < 0:
        name = signal.Signals(-ended.status).name
        more = ", as the system does where memory runs out" if name == "SIGKILL" else ""
        return "died", f"its process was ended by {name}{more}"
    if ended.status in RAN and all((folder / name).is_file() for name in REPORTS):
        return "ran", ""
    return "could not be asked", _refusal(
        said
    ) or f"exit status {ended.status}: {_last_line(said) or 'it said nothing'}"


def _refusal(said: str) -> str:
    """What pytest says of an error of usage, which may take several lines; empty where it says none."""
    _, error, rest = said.rpartition("\nERROR: ")
    return " ".join(rest.split()) if error else ""


def _last_line(said: str) -> str:
    return next((line.strip() for line in reversed(said.splitlines()) if line.strip()), "")


def _tail(path: Path) -> str:
    content = path.read_bytes()
    return "\n" + content[-TAIL:].decode("utf-8", errors="replace")
