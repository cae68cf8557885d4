"""Tells somebody at a terminal what a slow shared computation is, while it runs; says nothing in a pipe or in CI.

The words stand behind pytest's own dots and are erased afterwards, so the log of a run is the same with and without.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

import pytest

PATIENCE, EVERY = 2.0, 1.0  # seconds of silence before anything is said, and between two updates
SAVE, RESTORE_AND_ERASE = "\x1b7", "\x1b8\x1b[J"


class Progress:
    """The plugin object of a session at a terminal."""

    def __init__(self, reporter: pytest.TerminalReporter) -> None:
        self.writer = reporter._tw
        # Fixtures run while pytest captures what is written to file descriptor 1: a copy still leads to the terminal.
        self.file = os.fdopen(os.dup(self.writer._file.fileno()), "w", encoding="utf-8")
        self.busy = False

    def pytest_unconfigure(self) -> None:
        self.file.close()

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef) -> Iterator[object]:
        if fixturedef.scope == "function" or self.busy:  # one that a fixture asks for while it is computed itself
            return (yield)
        self.busy = True
        free = self.writer.fullwidth - self.writer.width_of_current_line - 1
        try:
            with waiting(self.file, fixturedef.argname.replace("_", " "), free):
                return (yield)
        finally:
            self.busy = False


@contextmanager
def waiting(file: TextIO, what: str, free: int) -> Iterator[None]:
    """From PATIENCE on and while the block lasts, shows what is computed and for how long, in `free` columns."""
    done = threading.Event()
    thread = threading.Thread(target=_tick, args=(file, what, free, done), daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _tick(file: TextIO, what: str, free: int, done: threading.Event) -> None:
    start = time.monotonic()
    if done.wait(PATIENCE):
        return
    file.write(SAVE)
    while not done.wait(EVERY):
        file.write(RESTORE_AND_ERASE + f" computing {what}, {time.monotonic() - start:.0f} s"[: max(free, 0)])
        file.flush()
    file.write(RESTORE_AND_ERASE)
    file.flush()


@pytest.hookimpl(trylast=True)  # after the terminal reporter is there
def pytest_configure(config: pytest.Config) -> None:
    reporter = config.pluginmanager.getplugin("terminalreporter")
    watched = reporter and reporter.isatty and not os.environ.get("CI")  # some CI services have a terminal nobody reads
    if watched and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Progress(reporter), "claims-progress")
