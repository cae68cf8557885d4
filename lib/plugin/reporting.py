"""Collects the session's list of claims from test reports, and has it written and printed at the end.

Reads what recorder.py put into each test report, so it works the same where tests ran in worker processes.
"""

from __future__ import annotations

import os
import shlex
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple, Protocol

import pytest
from rich.console import Console

from lib.judging.measurements import Claim, Comparison, Measurement, Mutant, Session, Shown, Subject, as_json
from lib.judging.recorder import INSTEAD, NOTE, Inconclusive, Recorder
from lib.models.backends import LIBRARIES
from lib.models.budget import BatchHalved
from lib.plugin.completeness import options_of_claims, selection
from lib.plugin.item_records import attach, attached, keep, records_of, running, subject_name
from lib.reports import terminal
from lib.reports.writing import add_summary, write_reports

VERSIONS_OF = (
    "torch",
    "transformer-lens",
    "transformers",
    "numpy",
    "scipy",
    "hypothesis",
    "pytest",
    "pytest-html",
    "plotly",
)
SENTENCE = "sentence"
UNDECIDED = "undecided"  # the kind of a record that says why a claim was not decided
NOT_MEASURED = pytest.StashKey[list[str]]()  # filled at collection by whoever decides what is tested
LOOKS = pytest.StashKey[list[int]]()  # see Session
OUTLINE = pytest.StashKey["Outline"]()  # and by whoever knows what the claims are about


class Outline(NamedTuple):
    """What a reader needs besides figures; see Session."""

    task: str
    families: dict[str, str]
    sources: dict[str, str]
    glossary: dict[str, str]
    mutants: list[Mutant]


class Checked(NamedTuple):
    """What an earlier run says about a session."""

    drift: Comparison | None = None
    says: str = ""  # a line for the terminal
    faults: Sequence[str] = ()  # what fails the run besides
    excuses: bool = False  # whether the claims that do not hold are to leave the run green


class Guard(Protocol):
    """Compares the session with an earlier run."""

    def check(self, new: Session) -> Checked: ...


class Reporting:
    """The plugin object of one session."""

    def __init__(self, config: pytest.Config, recorder: Recorder) -> None:
        self.config = config
        self.recorder = recorder
        self.started = datetime.now(timezone.utc)
        self.clock = time.monotonic()
        self.claims: dict[str, Claim] = {}
        self.subjects: dict[str, list[Subject]] = {}  # by test, as are
        self.drawings: dict[str, list[Shown]] = {}
        self.notes: list[str] = []
        self.order: dict[str, int] = {}  # places of tests in the report, where they do not arrive in order
        self.reports: dict[Path, str] = {}  # what is to be written at the end
        self.written: list[Path] = []
        self.ended = ""
        self.guard: Guard | None = None
        self.checked = Checked()
        self.failed_claims = 0  # reports of a claim's phases that failed, as pytest counts those of all tests
        self.measured: Session | None = None  # what was written at the end
        self.faults: list[str] = []  # of reporting itself: they fail the run, whatever the claims say

    def session(self) -> Session:
        """Everything seen so far as one record."""
        return Session(
            started=self.started.isoformat(timespec="seconds"),
            seconds=round(time.monotonic() - self.clock, 1),
            command=shlex.join(["pytest", *sys.argv[1:]]),
            rerun=shlex.join(options_of_claims(self.config)),
            selection=selection(self.config),
            ended=self.ended,
            versions={"python": sys.version.split()[0], **{name: version(name) for name in self._libraries()}},
            looks=self.config.stash.get(LOOKS, []),
            subjects=self._under_test(),
            not_measured=self.config.stash.get(NOT_MEASURED, []),
            notes=sorted(set(self.notes)),
            claims=sorted(self.claims.values(), key=lambda claim: self._place(claim.test)),
            drawings=[shown for test in sorted(self.drawings, key=self._place) for shown in self.drawings[test]],
            drift=self.checked.drift,
            **(self.config.stash[OUTLINE]._asdict() if OUTLINE in self.config.stash else {}),
        )

    def _libraries(self) -> tuple[str, ...]:
        """Those whose versions may move a figure, and what runs the model."""
        runs = LIBRARIES.get(self.config.option.claims_backend, VERSIONS_OF[0])
        return tuple(dict.fromkeys((*VERSIONS_OF, runs)))

    def _place(self, test: str) -> int:
        return self.order.get(test, -1)  # what is in no order, such as a file that cannot be loaded, comes first

    def _under_test(self) -> list[Subject]:
        """One record a subject, with every device it was on."""
        records: dict[str, list[Subject]] = {}
        for test in sorted(self.subjects, key=self._place):
            for one in self.subjects[test]:
                records.setdefault(one.name, []).append(one)
        devices = {name: ", ".join(sorted({one.device for one in ones})) for name, ones in records.items()}
        return [ones[0].model_copy(update={"device": devices[name]}) for name, ones in records.items()]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self.recorder.running = running(item)
        try:
            return (yield)
        finally:
            self.recorder.running = None

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            if subject_name(item):
                keep(item, SENTENCE, [sentence(item), subject_name(item)])

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Claims are reported in the order of collection, also those that were asked again after the others."""
        self.order = {item.nodeid: place for place, item in enumerate(session.items)}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo) -> Iterator[None]:
        if call.excinfo and isinstance(call.excinfo.value, Inconclusive):
            keep(item, UNDECIDED, str(call.excinfo.value))
        report = yield
        attach(item, report)
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the phase that decides. A failing setup or teardown outweighs what the call said, and a later look what
        an earlier one left open."""
        # As pytest itself counts `session.testsfailed`, with which this is compared at the end.
        self.failed_claims += is_claim(report) and report.failed and not hasattr(report, "wasxfail")
        decides = report.when == "call" or not report.passed
        if is_claim(report) and decides and (report.outcome != "rerun" or hasattr(report, "left_open")):
            self._keep(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._keep(report)

    def _keep(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        self.claims[report.nodeid] = claim_of(report)
        self.subjects[report.nodeid] = records_of(report, Subject)
        self.drawings[report.nodeid] = records_of(report, Shown)
        self.notes += attached(report, NOTE)

    def pytest_warning_recorded(self, warning_message: warnings.WarningMessage) -> None:
        if isinstance(warning_message.message, BatchHalved):
            self.notes.append(str(warning_message.message))

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo) -> None:
        self.ended = str(excinfo.value) or "stopped by Ctrl-C"

    @pytest.hookimpl(wrapper=True, tryfirst=True)  # around everything else that writes at the end
    def pytest_sessionfinish(self, session: pytest.Session) -> Iterator[None]:
        self.ended = self.ended or str(session.shouldfail or session.shouldstop or "")
        folder = self.config.option.claims_report
        if folder and self.claims and not hasattr(self.config, "workerinput"):
            if self.guard:
                self.checked = self.guard.check(self.session())
                self.faults += self.checked.faults
            self.measured = self.session()
            self.reports[folder / "claims.json"] = as_json(self.measured)
            if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
                self.faults += add_summary(self.measured, summary)
        yield
        left_open = any(claim.outcome == "inconclusive" for claim in self.claims.values())
        failed = self.faults or left_open or (self.checked.drift and self.checked.drift.drifted)
        if failed and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        only_claims = session.testsfailed == self.failed_claims and not self.faults
        if self.checked.excuses and only_claims and session.exitstatus == pytest.ExitCode.TESTS_FAILED:
            session.exitstatus = pytest.ExitCode.OK

    @pytest.hookimpl(specname="pytest_sessionfinish", wrapper=True, trylast=True)  # the terminal's is around this
    def pytest_sessionfinish_of_pytest_html(self) -> Iterator[None]:
        """Write the reports once the page is there, and before the terminal says where they are."""
        try:
            yield  # in here html_plugin.py adds the page
        finally:
            self.written, faults = write_reports(self.reports)
            self.faults += faults

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.claims:
            terminalreporter.section("claims")
            writer = terminalreporter._tw  # pytest's own stream: it knows about colour, width and capture
            console = Console(
                file=writer._file, width=writer.fullwidth, force_terminal=writer.hasmarkup, highlight=False
            )
            terminal.render(self.session(), console)
            if self.written:
                terminalreporter.write_line(f"written: {' and '.join(map(str, self.written))}")
        if self.checked.says:
            terminalreporter.write_line(self.checked.says)
        for fault in self.faults:
            terminalreporter.write_line(fault, red=True)


def is_claim(report: pytest.TestReport) -> bool:
    """Whether a report belongs to a test of a subject, and not to a test of this suite itself."""
    return bool(attached(report, SENTENCE))


def claim_of(report: pytest.TestReport | pytest.CollectReport) -> Claim:
    """The record of a claim from the report of its deciding phase. A file that could not be collected is one too."""
    said, subject = next(iter(attached(report, SENTENCE)), [f"{report.nodeid} can be loaded.", ""])
    outcome, reason = report.outcome, "" if report.passed else _reason(report)
    if undecided := attached(report, UNDECIDED):
        outcome, reason = "inconclusive", undecided[0]
    elif report.failed and report.when != "call":
        outcome = "error"
    elif hasattr(report, "left_open"):
        outcome, reason = "inconclusive", report.left_open
    return Claim(
        test=report.nodeid,
        subject=subject,
        sentence=said,
        outcome=outcome,
        seconds=round(getattr(report, "duration", 0.0), 3),
        reason=reason,
        instead="" if outcome == "passed" else " ".join(attached(report, INSTEAD)),
        measurements=records_of(report, Measurement),
    )


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    if isinstance(report.longrepr, tuple):  # a skip: file, line, reason
        return report.longrepr[2]
    crash = getattr(report.longrepr, "reprcrash", None)
    return crash.message.removeprefix("Failed: ") if crash else str(report.longrepr)  # as pytest.fail writes it


def sentence(item: pytest.Item) -> str:
    """The first paragraph of a test's docstring, its parameters filled in."""
    text = " ".join((item.function.__doc__ or item.name).split("\n\n")[0].split())
    return text.format(**item.callspec.params)
