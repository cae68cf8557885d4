"""The pytest side of baselines: a run that fails where it drifted from the kept one, or is kept itself.

A missing baseline is written and the run fails, so that nobody blesses a number by accident. By which rules a run is
compared is lib/judging/baselines.py's. Claims that fail still fail the run, unless they are said to be known.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from lib.files import write_whole
from lib.judging.baselines import BaselineError, as_baseline, compare, read_session
from lib.judging.flips import newly_failing
from lib.judging.measurements import Session, as_json
from lib.judging.verdicts import NO_SUBJECT, subject_names, verdict_sentence
from lib.one_line import first_of
from lib.plugin.completeness import selection
from lib.plugin.reporting import Checked, Reporting


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("claims", "circuit claims")
    group.addoption(
        "--claims-baseline",
        type=Path,
        metavar="FILE",
        help="Fail where a figure drifted from the run kept in this claims.json, even inside its band.",
    )
    group.addoption(
        "--claims-update-baseline",
        action="store_true",
        help="Keep this run in the file of --claims-baseline instead of comparing with it.",
    )
    group.addoption(
        "--claims-known-failures",
        action="store_true",
        help="Exit with 0 where nothing drifted and every claim that does not hold did not hold in --claims-baseline.",
    )


LISTED = 3  # claims that a line names


@dataclass(frozen=True)
class Guard:
    """Compares the session with the kept run `old` at its end, or keeps it where there is none."""

    path: Path
    old: Session | None
    update: bool
    known_failures: bool  # whether claims that fail are excused where they failed in `old`

    def check(self, new: Session) -> Checked:
        """The comparison, or what was kept."""
        if self.old is None:
            return self._keep(new)
        drift = compare(self.old, new, name=str(self.path))
        if not self.known_failures:
            return Checked(drift)
        if others := newly_failing(self.old, new):
            count = "1 claim is" if len(others) == 1 else f"{len(others)} claims are"
            return Checked(drift, f"{count} not known to fail: {first_of(others, LISTED)}")
        if new.ended or drift.drifted:
            return Checked(drift)
        return Checked(drift, f"{verdict_sentence(new.claims)}, as in the baseline; nothing drifted", excuses=True)

    def _keep(self, new: Session) -> Checked:
        if new.ended:
            return Checked(faults=[f"no baseline was written to {self.path}: the run ended early ({new.ended})"])
        try:
            write_whole(self.path, as_json(as_baseline(new)))
        except OSError as error:
            return Checked(
                faults=[f"the baseline {self.path} could not be written ({error.strerror}): it is as it was"]
            )
        figures = sum(len(claim.measurements) for claim in new.claims)
        names = " and ".join(name or NO_SUBJECT for name in subject_names(new))
        stand = verdict_sentence(new.claims)
        kept = f"kept in {self.path}: {figures} figures of {names}; in what was kept {stand}"
        unasked = f"there was no baseline {self.path}: this run was kept as one. Look at it before you commit it"
        return Checked(says=kept, faults=[] if self.update else [unasked])


def pytest_configure(config: pytest.Config) -> None:
    path, update = config.option.claims_baseline, config.option.claims_update_baseline
    known_failures = config.option.claims_known_failures
    if update and not path:
        raise pytest.UsageError("--claims-update-baseline keeps this run: say where with --claims-baseline FILE")
    if known_failures and (update or not path):
        raise pytest.UsageError(
            "--claims-known-failures excuses claims that fail in a kept run: name it with --claims-baseline FILE, and "
            "leave out --claims-update-baseline"
        )
    if not path or hasattr(config, "workerinput"):
        return
    if config.option.claims_report is None:
        raise pytest.UsageError("--claims-baseline compares claims, and none was asked for: run pytest claims/")
    reporting: Reporting = config.pluginmanager.getplugin("claims-reporting")
    reporting.guard = Guard(path, _kept(path, config, update=update), update, known_failures)


def _kept(path: Path, config: pytest.Config, *, update: bool) -> Session | None:
    """The run to compare with; None where this one is to be kept. Raises UsageError before any claim has run."""
    try:
        kept = read_session(path)
    except FileNotFoundError:
        return None
    except BaselineError as error:
        if update:
            return None
        raise pytest.UsageError(f"--claims-baseline: {error}") from error
    if update and kept.selection != selection(config):
        raise pytest.UsageError(
            f"{path} is a run of {kept.selection or 'everything'}, this is one of {selection(config) or 'everything'}: "
            "it would lose claims. Name another file, or delete this one"
        )
    return None if update else kept
