"""SIGTERM does what Ctrl-C does, so that a run that is stopped from outside leaves its reports too."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator

import pytest


class Terminated(KeyboardInterrupt):
    """Raised where SIGTERM arrives. As a KeyboardInterrupt it passes every `except Exception`."""


@pytest.hookimpl(wrapper=True)
def pytest_cmdline_main(config: pytest.Config) -> Iterator[None]:
    """SIGTERM stops the run as Ctrl-C does; a second one ends it on the spot."""
    if threading.current_thread() is not threading.main_thread():
        return (yield)  # Python hands signals to the main thread alone
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        return (yield)
    finally:
        signal.signal(signal.SIGTERM, before)


def _stop(number: int, frame: object) -> None:
    signal.signal(number, signal.SIG_DFL)
    raise Terminated("stopped by SIGTERM")
