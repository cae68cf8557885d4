"""Runs of the claims in this process, one after another, each kept as a file that other programs read.

A run that is kept is not made again, so a program that was stopped goes on where it was; one of other sources is never
taken for it. A model that the run before used is still loaded (see `kept` in ioi_fixtures/pytest_fixtures/fixtures.py).
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
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


def run(name: str, *arguments: str) -> Session:
    """The record of `pytest claims/` with these arguments, made now or kept from earlier under that name.

    Raises RuntimeError, naming the log, where the claims could not be run; that some fail is what is asked.
    """
    if not kept(name):
        record = _record(name)
        record.parent.mkdir(parents=True, exist_ok=True)
        log = record.with_name("log.txt")
        command = [str(ROOT / "claims"), "-q", "-p", "no:cacheprovider", "--claims-report", str(record.parent)]
        with log.open("w") as file, redirect_stdout(file), redirect_stderr(file):
            status = pytest.main([*command, *arguments])
        record.with_suffix(".html").unlink(missing_ok=True)  # a hundred of them would fill a disk
        if status not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
            record.unlink(missing_ok=True)
            raise RuntimeError(f"the claims could not be run: see {log}")
    return kept(name)


def run_apart(name: str, *arguments: str) -> tuple[Session, int]:
    """The same in a process of its own, with the most memory that it held, in bytes; both are kept.

    Raises RuntimeError as `run` does.
    """
    record = _record(name)
    peak = record.with_name("peak.txt")
    if not peak.is_file():
        record.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pytest", str(ROOT / "claims"), "-q", "-p", "no:cacheprovider", *arguments]
        log = record.with_name("log.txt")
        with log.open("w") as file:
            begun = subprocess.Popen(
                [*command, "--claims-report", str(record.parent)], stdout=file, stderr=file, cwd=ROOT
            )
            _, status, used = os.wait4(begun.pid, 0)
        if os.waitstatus_to_exitcode(status) not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
            raise RuntimeError(f"the claims could not be run: see {log}")
        peak.write_text(f"{used.ru_maxrss * 1024}\n", encoding="utf-8")  # Linux counts KiB
    return kept(name), int(peak.read_text(encoding="utf-8"))


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
