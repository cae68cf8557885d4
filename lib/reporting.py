"""Turns test reports into the session's list of claims, and writes the reports at its end.

Reads what recorder.py put into each test report, so it works the same where tests ran in worker processes.
"""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path

import pytest
from rich.console import Console

from lib import html_report, terminal
from lib.measurements import Claim, Measurement, Session, Shown, Subject
from lib.recorder import PROPERTY, Recorder, records_of, subject_name

VERSIONS_OF = ("torch", "transformer-lens", "transformers", "numpy", "scipy", "hypothesis", "pytest", "plotly")
SENTENCE = PROPERTY + "sentence"
NOT_MEASURED = pytest.StashKey[list[str]]()  # filled at collection by whoever decides what is tested
FAMILIES = pytest.StashKey[dict[str, str]]()  # and by whoever knows what the claims are about; see Session
SOURCES = pytest.StashKey[dict[str, str]]()


class Reporting:
    """The plugin object of one session."""

    def __init__(self, config: pytest.Config, recorder: Recorder) -> None:
        self.config = config
        self.recorder = recorder
        self.started = datetime.now(timezone.utc)
        self.clock = time.monotonic()
        self.claims: dict[str, Claim] = {}
        self.subjects: dict[str, Subject] = {}
        self.drawings: list[Shown] = []

    def session(self) -> Session:
        """Everything seen so far as one record."""
        return Session(
            started=self.started.isoformat(timespec="seconds"),
            seconds=round(time.monotonic() - self.clock, 1),
            command=shlex.join(["pytest", *sys.argv[1:]]),
            versions={"python": sys.version.split()[0], **{name: version(name) for name in VERSIONS_OF}},
            subjects=list(self.subjects.values()),
            not_measured=self.config.stash.get(NOT_MEASURED, []),
            claims=list(self.claims.values()),
            drawings=self.drawings,
            families=self.config.stash.get(FAMILIES, {}),
            sources=self.config.stash.get(SOURCES, {}),
        )

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self.recorder.item = item
        try:
            return (yield)
        finally:
            self.recorder.item = None

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            if subject_name(item):
                item.user_properties.append((SENTENCE, [sentence(item), subject_name(item)]))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the phase that decides. A failing setup or teardown outweighs what the call said."""
        if is_claim(report) and (report.when == "call" or not report.passed):
            self._keep(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._keep(report)

    def _keep(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        self.claims[report.nodeid] = claim_of(report)
        self.subjects.update({subject.name: subject for subject in records_of(report, Subject)})
        self.drawings += records_of(report, Shown)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        folder = self.config.option.claims_report
        if folder and self.claims and not hasattr(self.config, "workerinput"):
            folder.mkdir(parents=True, exist_ok=True)
            session = self.session()
            _write(folder / "claims.json", session.model_dump_json(indent=1))
            _write(folder / "claims.html", html_report.page(session))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.claims:
            terminalreporter.section("claims")
            writer = terminalreporter._tw  # pytest's own stream: it knows about colour, width and capture
            console = Console(
                file=writer._file, width=writer.fullwidth, force_terminal=writer.hasmarkup, highlight=False
            )
            terminal.render(self.session(), console)
            if self.config.option.claims_report:
                folder = self.config.option.claims_report
                terminalreporter.write_line(f"written: {folder / 'claims.html'} and {folder / 'claims.json'}")


def _write(path: Path, text: str) -> None:
    half = path.with_name(path.name + ".part")  # written aside, so that a reader never sees half a file
    half.write_text(text, encoding="utf-8", newline="\n")  # the page's policy names its scripts by their bytes
    half.replace(path)


def is_claim(report: pytest.TestReport) -> bool:
    """Whether a report belongs to a test of a subject, and not to a test of this suite itself."""
    return any(name == SENTENCE for name, _ in getattr(report, "user_properties", []))


def claim_of(report: pytest.TestReport | pytest.CollectReport) -> Claim:
    """The record of a claim from the report of its deciding phase. A file that could not be collected is one too."""
    properties = dict(getattr(report, "user_properties", []))
    said, subject = properties.get(SENTENCE, [f"{report.nodeid} can be loaded.", ""])
    outcome = "error" if report.failed and report.when != "call" else report.outcome
    return Claim(
        test=report.nodeid,
        subject=subject,
        sentence=said,
        outcome=outcome,
        seconds=round(getattr(report, "duration", 0.0), 3),
        reason="" if outcome == "passed" else _reason(report),
        measurements=records_of(report, Measurement),
    )


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    if isinstance(report.longrepr, tuple):  # a skip: file, line, reason
        return report.longrepr[2]
    crash = getattr(report.longrepr, "reprcrash", None)
    return crash.message if crash else str(report.longrepr)


def sentence(item: pytest.Item) -> str:
    """The first paragraph of a test's docstring, its parameters filled in."""
    text = " ".join((item.function.__doc__ or item.name).split("\n\n")[0].split())
    return text.format(**item.callspec.params)
