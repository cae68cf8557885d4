"""Runs jobs on Ray: the one place that knows it. Ray core alone, an extra of this project: `pip install '...[sweep]'`.

A job is a task that starts a process and returns a small record, so nothing large is ever in the object store. A task
whose worker or machine died is given to another one, RETRIES times. A claim that fails, a run that takes too long and
all else that ends a run by itself are returned, and so never retried.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from lib.sweep.local import Running
from lib.sweep.plan import PlanError
from lib.sweep.results import Kind, Outcome, Results
from lib.sweep.task import RETRIES, Job

EVERY = 1.0  # seconds between two looks at what runs
OBJECT_STORE = 100 * 2**20  # bytes: outcomes are a kilobyte each, and Ray takes a third of the memory if not told
# Ray would ask again for ever where memory runs out, and tell its makers how it is used.
SETTINGS = {"RAY_task_oom_retries": "0", "RAY_USAGE_STATS_ENABLED": "0"}
LONGEST = 40  # characters of a folder that Ray makes sockets in, whose names may have 107
# Waits until this process has ended, however it did, and then for the folder to stay away.
REMOVES = 'read -r _; for i in 1 2 3 4 5 6 7 8 9; do rm -rf "$0" 2>/dev/null; sleep 1; [ -e "$0" ] || exit 0; done'


def is_installed() -> bool:
    """Whether the extra is there."""
    return find_spec("ray") is not None


def run_on_ray(jobs: Sequence[Job], *, cpus: int, address: str | None) -> Iterator[Running | Outcome]:
    """What happens, as it happens, on the cluster at `address`, or on one of so many CPUs that is begun on this machine
    and ended here. Whoever leaves the loop early ends what is running. Raises PlanError where there is no Ray, no such
    cluster, or no room for a job on it."""
    if not is_installed():
        raise PlanError("Ray is not installed: pip install 'circuit-claims[sweep]', or add --engine local")
    with _connected(cpus, address) as ray:
        _check_room(jobs, ray.cluster_resources(), address)
        # Of this module a worker need know nothing: the function travels by itself.
        ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
        remote = ray.remote(_run)
        waiting = {_submitted(remote, job): job for job in jobs}
        try:
            while waiting:
                ended, _ = ray.wait(list(waiting), num_returns=1, timeout=EVERY)
                for one in ended:
                    yield _outcome_of(ray, one, waiting.pop(one))
                busy = ray.cluster_resources().get("CPU", 0) - ray.available_resources().get("CPU", 0)
                yield Running(min(len(waiting), round(busy / max(job.cpus for job in jobs))))
        finally:
            for one in waiting:
                ray.cancel(one, force=True)


def _run(job: tuple, tree: str) -> str:
    """What a worker does. It gets and gives plain values, since the driver's modules need not be its own."""
    if tree not in sys.path:
        sys.path.insert(0, tree)
    from lib.sweep.processes import server_of_this_process
    from lib.sweep.task import Job, run

    return run(Job(*job), server_of_this_process()).model_dump_json()


def _submitted(remote: object, job: Job) -> object:
    options = {"num_cpus": job.cpus, "num_gpus": job.gpus, "name": job.name}
    options |= {"max_retries": RETRIES, "retry_exceptions": False}
    if job.memory:
        options["memory"] = job.memory  # room for it is looked for; lib/sweep/task.py holds it to that
    return remote.options(**options).remote(tuple(job), job.tree)


def _outcome_of(ray: ModuleType, one: object, job: Job) -> Outcome:
    try:
        return Outcome.model_validate_json(ray.get(one))
    except ray.exceptions.RayTaskError as error:
        raise error.cause from error  # of our own code: results that cannot be written, or a fault
    except ray.exceptions.OutOfMemoryError as error:
        return _kept(job, "out of memory", error)
    except ray.exceptions.RayError as error:
        return _kept(job, "died", error)


def _kept(job: Job, kind: Kind, error: Exception) -> Outcome:
    """The outcome of a job whose worker could not say it."""
    outcome = Outcome(
        name=job.name,
        source=job.source,
        kind=kind,
        message=" ".join(str(error).split())[:1000],
        asked=job.asked,
        started=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        seconds=0,
        attempts=RETRIES + 1 if kind == "died" else 1,
    )
    Results(job.results).keep(outcome)
    return outcome


@contextmanager
def _connected(cpus: int, address: str | None) -> Iterator[ModuleType]:
    """Ray, connected to a cluster; one that is begun here ends with the block, and leaves nothing behind."""
    os.environ.update({key: os.environ.get(key, value) for key, value in SETTINGS.items()})
    if address is None:  # else the cluster has one; this one needs none in the user's home
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    import ray  # imported here: it takes a second, and need not be there

    quiet = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
    before = signal.getsignal(signal.SIGTERM)
    with _folder() as folder:
        try:
            if address:
                ray.init(address=address, log_to_driver=False, logging_level="ERROR")
            else:
                ray.init(num_cpus=cpus, object_store_memory=OBJECT_STORE, _temp_dir=str(folder), **quiet)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise PlanError(f"there is no Ray cluster to be had at {address or 'this machine'}: {error}") from error
        finally:
            signal.signal(signal.SIGTERM, before)  # Ray puts its own in its place
        try:
            yield ray
        finally:
            ray.shutdown()
            signal.signal(signal.SIGTERM, before)


@contextmanager
def _folder() -> Iterator[Path]:
    """A folder for Ray's sockets and logs that goes with this process, also where it is killed."""
    usual = tempfile.gettempdir()
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir=usual if len(usual) <= LONGEST else "/tmp"))
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    remover = subprocess.Popen(["sh", "-c", REMOVES, str(folder)], start_new_session=True, **pipes)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        remover.stdin.close()
        remover.wait()


def _check_room(jobs: Sequence[Job], there: Mapping[str, float], address: str | None) -> None:
    """Raises PlanError where a job asks for more than all machines together have. On a cluster that grows, that is what
    makes it grow, so of one with an address only GPUs' absence is told by Ray itself."""
    if address is not None:
        return
    for job in jobs:
        asked = {"CPU": job.cpus, "GPU": job.gpus, "memory": job.memory or 0}
        short = [name for name, count in asked.items() if count > there.get(name, 0)]
        if short:
            name = short[0]
            raise PlanError(f"{job.name} asks for {asked[name]:,} {name}, and here are {there.get(name, 0):,.0f}")
