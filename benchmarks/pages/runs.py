"""Runs of the claims in this process, one after another, each kept as a file that other programs read.

A run that is kept is not made again, so a program that was stopped goes on where it was; one of other sources is never
taken for it. A model that the run before used is still loaded (see `kept` in ioi_fixtures/pytest_fixtures/fixtures.py).
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from functools import cache
from pathlib import Path

import pytest

from benchmarks.pages.evidence import ROOT
from lib.judging.measurements import Claim, Measurement, Session
from lib.judging.verdicts import of_any_subject

FOLDER = ROOT / "reports" / "runs"
# Families whose figures --claims-seed does not change: weights, the tools themselves, and what Hypothesis draws.
UNSEEDED = ("test_weights.py", "test_instruments.py", "test_generated_prompts.py")
SEEDED = tuple(f"--ignore={ROOT / 'claims' / name}" for name in UNSEEDED)  # asks for the others alone


def run(name: str, *arguments: str) -> Session:
    """The record of `pytest claims/` with these arguments, made now or kept from earlier under that name.

    Raises RuntimeError, naming the log, where the claims could not be run; that some fail is what is asked.
    """
    if not kept(name):
        record = _record(name)
        with _log(record).open("w") as file, redirect_stdout(file), redirect_stderr(file):
            status = pytest.main(_command(record, arguments))
        record.with_suffix(".html").unlink(missing_ok=True)  # a hundred of them would fill a disk
        _check(status, record)
    return kept(name)


def run_apart(name: str, *arguments: str) -> tuple[Session, int]:
    """The same in a process of its own, with the most memory that it held, in bytes; both are kept.

    Raises RuntimeError as `run` does.
    """
    record = _record(name)
    peak = record.with_name("peak.txt")
    if not peak.is_file():
        with _log(record).open("w") as file:
            command = [sys.executable, "-m", "pytest", *_command(record, arguments)]
            begun = subprocess.Popen(command, stdout=file, stderr=file, cwd=ROOT)
            _, status, used = os.wait4(begun.pid, 0)
        _check(os.waitstatus_to_exitcode(status), record)
        peak.write_text(f"{used.ru_maxrss * 1024}\n", encoding="utf-8")  # Linux counts KiB
    return kept(name), int(peak.read_text(encoding="utf-8"))


def _log(record: Path) -> Path:
    """Where a run's output goes, in a folder that is then there."""
    record.parent.mkdir(parents=True, exist_ok=True)
    return record.with_name("log.txt")


def _command(record: Path, arguments: Sequence[str]) -> list[str]:
    options = ["-q", "-p", "no:cacheprovider", "--claims-report", str(record.parent)]
    return [str(ROOT / "claims"), *options, *arguments]


def _check(status: int, record: Path) -> None:
    if status not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        record.unlink(missing_ok=True)
        raise RuntimeError(f"the claims could not be run: see {_log(record)}")


def kept(name: str) -> Session | None:
    """The run kept under that name, if there is one of these sources."""
    record = _record(name)
    return Session.model_validate_json(record.read_text(encoding="utf-8")) if record.is_file() else None


def _record(name: str) -> Path:
    return FOLDER / sources() / name / "claims.json"


@cache
def sources() -> str:
    """A digest of everything a figure depends on in this project.

    Except the mutants' definitions: a mutant's directory, whose name its run has, holds a digest of its design.
    """
    digest = hashlib.sha256()
    for folder in ("claims", "ioi_fixtures", "lib"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in (".py", ".toml") and path.parent.name != "broken":
                digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def short(one: Claim | Measurement) -> str:
    """A claim's name without file and subject, from it or one of its figures: every_name_mover_copies[9.9]."""
    return in_short(of_any_subject(one))


def in_short(name: str) -> str:
    """The same from a name that `of_any_subject` gave."""
    return name.partition("::")[2].removeprefix("test_")


def measured(figure: Measurement) -> str:
    """A figure for a table: its value, interval and number."""
    return f"{figure.value:.3g} [{figure.low:.3g}, {figure.high:.3g}] (N = {figure.n})"
