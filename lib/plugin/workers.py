"""`pytest -n K`: claims spread over worker processes by pytest-xdist, in a report that does not show it.

Workers go through the claims subject by subject. Where there are as many subjects as workers, a worker takes all claims
about one; where there are more workers, it takes the claims of one file about one. So nothing that claims share is
computed twice in a worker. The controller collects nothing: what was found out at collection, and why a worker stopped
the run, travel to it as plain data. Follows xdist's documented hooks; workers on other machines are out of scope.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator, Sequence

import pytest
import torch
from xdist.workermanage import WorkerController

from lib.plugin.item_records import subject_name
from lib.plugin.pytest_plugin import PROCESSES
from lib.plugin.reporting import NOT_MEASURED, SENTENCE, Reporting


@pytest.hookimpl(tryfirst=True)  # before xdist puts its own default
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Unless --dist says otherwise, -n spreads the groups that the workers make, in their order."""
    if config.getoption("numprocesses", None) and config.option.dist == "no":
        config.option.dist = "loadgroup"
        config.option.loadscopereorder = False  # it would have a worker go back to a subject it has left
        if config.option.maxworkerrestart is None:
            config.option.maxworkerrestart = "0"  # a new worker would be given the test that crashed, again and again


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        config.pluginmanager.register(Worker(config), "claims-worker")
    elif config.getoption("dist", "no") != "no":
        config.pluginmanager.register(Controller(config), "claims-controller")


class Controller:
    """The plugin object of the process that starts the workers and writes the reports."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.reporting: Reporting = config.pluginmanager.getplugin("claims-reporting")
        self.numbers = itertools.count()

    def pytest_configure_node(self, node: WorkerController) -> None:
        node.workerinput["number"] = next(self.numbers)

    def pytest_xdist_node_collection_finished(self, ids: Sequence[str]) -> None:
        """Claims are reported in the order of collection, whoever is done first."""
        self.reporting.order = {without_group(test): place for place, test in enumerate(ids)}

    def pytest_handlecrashitem(self, crashitem: str, report: pytest.TestReport) -> None:
        """A test that took its worker down has said nothing about itself, and must not be missing from the report."""
        test = without_group(crashitem)
        report.claim_records = [(SENTENCE, [f"{test} can be run.", ""])]
        self.reporting.ended = f"a worker crashed while running {test}"

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Call the test what it is called without -n."""
        report.nodeid = without_group(report.nodeid)
        for _, record in getattr(report, "claim_records", []):
            if isinstance(record, dict) and "test" in record:
                record["test"] = report.nodeid

    def pytest_testnodedown(self, node: WorkerController, error: object | None) -> None:
        """Take over what a worker found out. A crashed one left nothing; xdist does not know of tests it ran again."""
        if error:
            self.reporting.ended = "a worker crashed"
        found = getattr(node, "workeroutput", {})
        if found.get("usage_error"):
            raise pytest.UsageError(found["usage_error"])
        if found.get("exit"):
            reason, status = found["exit"]
            pytest.exit(reason, returncode=status)
        self.config.stash[NOT_MEASURED] = found.get("not_measured") or self.config.stash.get(NOT_MEASURED, [])


class Worker:
    """The plugin object of one of the processes that run claims."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.found = config.workeroutput
        number, count = config.workerinput["number"], config.workerinput["workercount"]
        self.count = count
        asked, gpus = config.option.claims_device, torch.cuda.device_count()
        config.option.claims_device = device_of(number, asked=asked, gpus=gpus)
        config.stash[PROCESSES] = count if config.option.claims_device == asked else -(-count // gpus)
        if "OMP_NUM_THREADS" not in os.environ:  # else somebody has decided
            torch.set_num_threads(max(1, torch.get_num_threads() // count))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> None:
        """Tell xdist which test this is: of one that a later look runs again it would not know."""
        for plugin in self.config.pluginmanager.get_plugins():
            if hasattr(plugin, "item_index"):  # xdist's; its class is another one here, where execnet runs its source
                plugin.item_index = plugin.session.items.index(item)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection(self) -> Iterator[object]:
        """A usage error ends the run on the controller, in one line: here it would be a crash, and a new worker."""
        try:
            return (yield)
        except pytest.UsageError as error:
            self.found["usage_error"] = str(error)
            return True

    @pytest.hookimpl(wrapper=True, tryfirst=True)  # around everything that deselects
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> Iterator[None]:
        try:
            yield
        except pytest.UsageError:
            items.clear()  # the controller hands out what is here
            raise
        self.found["not_measured"] = self.config.stash.get(NOT_MEASURED, [])
        if self.config.option.loadgroup:
            for item, group in zip(items, groups(items, workers=self.count), strict=True):
                # What xdist makes of its xdist_group mark; it reads marks too early, before tests are deselected.
                item._nodeid = f"{item.nodeid}@{group}"

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo) -> None:
        if isinstance(excinfo.value, pytest.exit.Exception):
            self.found["exit"] = [excinfo.value.msg, int(excinfo.value.returncode or pytest.ExitCode.INTERRUPTED)]


def device_of(worker: int, *, asked: str, gpus: int) -> str:
    """The device of the worker with that number, counted from 0: GPUs in turn, unless one of them was asked for."""
    return f"cuda:{worker % gpus}" if gpus and asked in ("auto", "cuda") else asked


def groups(items: Sequence[pytest.Item], *, workers: int) -> list[int]:
    """For each test, the number of the group that one worker runs as a whole: its subject, or its file and subject."""
    names = [subject_name(item) for item in items]  # empty for a test of no subject
    by_file = workers > len({*names} - {""})
    keys = [(name, item.path if by_file or not name else None) for name, item in zip(names, items, strict=True)]
    numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    return [numbers[key] for key in keys]


def without_group(test: str) -> str:
    """A test's id as it is without the group that was appended to it."""
    return re.sub(r"@\d+$", "", test)
