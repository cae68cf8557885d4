"""Runs jobs on this machine without Ray: so many at once as its share of cores allows, each on cores of its own."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from queue import SimpleQueue
from typing import NamedTuple

from lib.sweep.processes import Server
from lib.sweep.results import Outcome
from lib.sweep.task import Job, run


class Running(NamedTuple):
    """How many models are being asked."""

    count: int


def run_here(jobs: Sequence[Job], *, cpus: int) -> Iterator[Running | Outcome]:
    """What happens, as it happens. Jobs that ask for a GPU go one after the other. Whoever leaves the loop early, as by
    Ctrl-C, ends what is running. Raises what kept an outcome from being written."""
    events: SimpleQueue[Job | Outcome | BaseException] = SimpleQueue()
    stopped, servers = threading.Event(), threading.local()
    opened: list[Server] = []

    def ask(job: Job) -> None:
        if stopped.is_set():
            return
        events.put(job)
        try:
            events.put(run(job, servers.own, stopped=stopped.is_set))
        except BaseException as error:  # raised again in the thread that waits
            events.put(error)

    def begin() -> None:
        servers.own = Server()
        opened.append(servers.own)

    at_once = 1 if any(job.gpus for job in jobs) else max(1, cpus // max((job.cpus for job in jobs), default=1))
    with closing_all(opened), ThreadPoolExecutor(at_once, initializer=begin) as threads:
        try:
            for job in jobs:
                threads.submit(ask, job)
            running = ended = 0
            while ended < len(jobs):
                event = events.get()
                if isinstance(event, BaseException):
                    raise event
                running += 1 if isinstance(event, Job) else -1
                yield Running(running)
                if isinstance(event, Outcome):
                    ended += 1
                    yield event
        finally:
            stopped.set()


@contextmanager
def closing_all(servers: Sequence[Server]) -> Iterator[None]:
    """Close them after the block, those too that were opened in it."""
    try:
        yield
    finally:
        for server in servers:
            server.close()
