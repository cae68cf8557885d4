"""Tells somebody at a terminal how far a sweep is; says nothing in a pipe or in CI."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from lib.sweep.local import Running
from lib.sweep.results import Outcome


def told(events: Iterable[Running | Outcome], count: int, console: Console) -> Iterator[Outcome]:
    """The outcomes among `events`, of which there will be `count`; meanwhile a line says what is going on."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("left:"), TimeRemainingColumn())
    watched = console.is_terminal and not os.environ.get("CI")  # some CI services have a terminal nobody reads
    ran = failed = running = 0
    with Progress(*columns, console=console, disable=not watched, transient=True) as progress:
        bar = progress.add_task(_words(ran, running, failed, count), total=count)
        for event in events:
            if isinstance(event, Running):
                running = event.count
            else:
                ran, failed = ran + (event.kind == "ran"), failed + (event.kind != "ran")
                yield event
            progress.update(bar, completed=ran + failed, description=_words(ran, running, failed, count))


def _words(ran: int, running: int, failed: int, count: int) -> str:
    return f"{ran} of {count} models done, {running} running, {failed} failed"
