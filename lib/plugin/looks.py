"""Sequential sampling: claims are asked on a few prompts first, and those that this leaves inconclusive on more.

Looking again until something holds would make wrong verdicts more frequent, so every look's intervals are at 1 - 5% /
looks: all of them together hold with 95% (Bonferroni; see `statistics.looks`). The last look takes --claims-prompts.
Each look takes a quarter of the next one's prompts, and none fewer than FEWEST. POWER.md says what that saves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import pytest
from _pytest.runner import runtestprotocol  # what the plugins that rerun tests are built on

from lib.judging.measurements import Measurement
from lib.judging.statistics import looks
from lib.plugin.completeness import claims_are_asked_for
from lib.plugin.item_records import forget, recorded
from lib.plugin.pytest_plugin import FEWEST
from lib.plugin.reporting import LOOKS

STEP = 4
LOOK = pytest.StashKey[int]()  # how many prompts this look takes; all there are where it is not set


def sizes(prompts: int, *, sequential: bool = True) -> tuple[int, ...]:
    """How many prompts each look takes: 100 gives 25 and 100, and less than 4 * FEWEST one look."""
    first = prompts // STEP
    return (*sizes(first), prompts) if sequential and first >= FEWEST else (prompts,)


def is_last_look(config: pytest.Config) -> bool:
    """Whether no look at more prompts follows this one."""
    return LOOK not in config.stash or config.stash[LOOK] == config.stash[LOOKS][-1]


def pytest_configure(config: pytest.Config) -> None:
    option = config.option
    # A file's prompts may be in any order: its first are no sample of it.
    if claims_are_asked_for(config) and option.claims_prompt_file is None:
        planned = config.stash[LOOKS] = [*sizes(option.claims_prompts, sequential=not option.claims_one_look)]
        if len(planned) > 1:
            config.pluginmanager.register(Looks(config, planned), "claims-looks")


class Looks:
    """The plugin object of a session of more than one look."""

    def __init__(self, config: pytest.Config, sizes: Sequence[int]) -> None:
        self.config, self.sizes = config, sizes
        self.left_open: list[pytest.Item] = []

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Iterator[object]:
        """After the first look, which is pytest's own loop, the others. Each starts from fixtures of its own."""
        first, *others = self.sizes
        self.config.stash[LOOK] = first
        with looks(len(self.sizes)):
            done = yield
            for size in others:
                self.config.stash[LOOK] = size
                again, self.left_open = self.left_open, []
                for item, following in pairwise([*again, None]):
                    forget(item)
                    self.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
                    if session.shouldfail:
                        raise session.Failed(session.shouldfail)
                    if session.shouldstop:
                        raise session.Interrupted(session.shouldstop)
        return done

    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool:
        """Run a test. One that this look leaves open is reported as a rerun, with what to say if none follows."""
        hook = item.ihook
        hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
        if not is_last_look(self.config) and is_open(item, reports):
            self.left_open.append(item)
            reports = [report for report in reports if report.when == "call"]
            reports[0].outcome, reports[0].left_open = "rerun", self._left_open()
        for report in reports:
            hook.pytest_runtest_logreport(report=report)
        hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True

    def _left_open(self) -> str:
        """Why a claim that this look leaves open has no verdict, where the run is stopped."""
        size = self.config.stash[LOOK]
        following = self.sizes[self.sizes.index(size) + 1]
        return f"{size} prompts left it open, and the run was stopped before it was asked on {following}"

    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, tuple[str, dict]] | None:
        return ("asked again", "a", ("ASKED AGAIN", {"yellow": True})) if report.outcome == "rerun" else None


def is_open(item: pytest.Item, reports: Sequence[pytest.TestReport]) -> bool:
    """Whether a test failed for want of prompts alone: something it recorded is inconclusive, and nothing fails."""
    failed = [report.when for report in reports if not report.passed]
    verdicts = {figure.verdict for figure in recorded(item, Measurement)}
    return failed == ["call"] and "inconclusive" in verdicts and "fail" not in verdicts
