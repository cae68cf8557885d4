"""`circuit-claims sweep SWEEP.toml`: asks many models, as far as they have not been asked, and writes what they say.

Exit status: 0 where every model was asked, 1 where some could not be, 2 for what cannot be run as it is written, 3
where every model was asked and one drifted from the one it is held against, 130 and 143 where the sweep was stopped.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from lib.judging.baselines import BaselineError
from lib.judging.measurements import Session
from lib.models.config import CannotLoad
from lib.one_line import counted, first_of
from lib.sweep import had
from lib.sweep.local import Running, run_here
from lib.sweep.on_ray import is_installed, run_on_ray
from lib.sweep.page import page
from lib.sweep.plan import Asked, Plan, PlanError, read_plan
from lib.sweep.progress import told
from lib.sweep.records import Sweep
from lib.sweep.results import Found, Outcome, Results, digest
from lib.sweep.table import Ran, as_csv, sweep_of
from lib.sweep.task import Job

TREE = Path(__file__).parents[2]
SUITE = (sys.executable, "-m", "lib.sweep.leash", str(TREE / "__main__.py"), "-q")
NOT_ALL, USAGE, DRIFT, INTERRUPTED, TERMINATED = 1, 2, 3, 130, 143
LISTED = 3


class Given(NamedTuple):
    """What the project adds that a sweep of its claims needs."""

    built: Collection[str]  # names of subjects that the suite builds
    circuit_path: Callable[[Path], Path]  # of a circuit that comes with the suite, by its name
    curves: Mapping[str, Sequence[str]]  # titles, and the ids of the figures that each shows


def main(arguments: Sequence[str] | None, given: Given, *, program: str, suite: Sequence[str] = SUITE) -> int:
    """The exit status. program: what its messages call it. suite: what asks the claims of one model."""
    asked = _parser(program).parse_args(arguments)
    console, signals = Console(highlight=False, stderr=True), []
    try:
        plan = read_plan(asked.file)
        if asked.results:
            here = asked.results if "://" in asked.results else str(Path(asked.results).resolve())
            plan = plan._replace(results=here)
        results = Results(plan.results)
        jobs = {one.name: _job(one, plan, given, suite, asked.drop_weights) for one in plan.models}
        found = {name: results.found(name, job.asked) for name, job in jobs.items()}
        if asked.dry_run:
            return _dry_run(plan, found, given.built)
        changed = {name: one for name, one in found.items() if one.state == "changed"}
        if changed and not asked.again:
            raise PlanError(_refusal(changed, results.where))
        due = [jobs[one.name] for one in plan.models if found[one.name].state != "done"]
        with _terminated(signals):
            _run(due, asked, console)
            sweep = _written(plan, jobs, results, given.curves, title=asked.file.stem)
    except (PlanError, OSError, ValueError) as error:
        print(f"{program}: {error}", file=sys.stderr)
        return USAGE
    except KeyboardInterrupt:
        print(f"{program}: stopped; what has run is kept, and the same command goes on from there", file=sys.stderr)
        return TERMINATED if signals else INTERRUPTED
    return _said(sweep, results.where)


def _parser(program: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program, description="Asks the claims of many models, and writes one page, table and record of them."
    )
    parser.add_argument("file", type=Path, metavar="SWEEP.toml", help="which models, what is asked of them, and how")
    parser.add_argument("--address", help="of a Ray cluster that runs (auto: the one of this machine)")
    parser.add_argument(
        "--engine",
        choices=("auto", "ray", "local"),
        default="auto",
        help="what runs the models on this machine (default: Ray where it is installed)",
    )
    parser.add_argument(
        "--cpus",
        type=int,
        default=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        metavar="N",
        help="of this machine, to share among models (default: %(default)s)",
    )
    parser.add_argument("--results", metavar="WHERE", help="where results go, in place of what the file says")
    parser.add_argument("--dry-run", action="store_true", help="list what would run, and whether it can be had")
    parser.add_argument("--again", action="store_true", help="ask again what was asked otherwise")
    parser.add_argument("--drop-weights", action="store_true", help="remove what was fetched for a model after its run")
    return parser


def _job(one: Asked, plan: Plan, given: Given, suite: Sequence[str], drop: bool) -> Job:
    file, circuit = plan.file, given.circuit_path(Path(one.circuit)) if one.circuit else None
    if circuit is not None and not circuit.is_file():
        raise PlanError(f"{one.name}: there is no circuit file {one.circuit}, and none of that name with the suite")
    options = {
        "--claims-circuit": str(circuit or ""),
        "--claims-prompt-file": str(plan.prompt_file or ""),
        "--claims-prompts": str(file.prompts),
        "--claims-seed": str(file.seed),
        "--claims-backend": file.backend,
        "--claims-dtype": file.dtype,
        "--claims-device": file.device,
        "--claims-bos": file.bos,
        "--claims-memory": file.budget,
        "-k": file.claims,
    }
    flags = ["--claims-one-look"] if file.one_look else []
    asked = {
        "circuit": digest(circuit.read_bytes())[:12] if circuit else "",
        "prompt file": digest(plan.prompt_file.read_bytes())[:12] if plan.prompt_file else "",
        "one look": "yes" if file.one_look else "no",
        **{key.removeprefix("--claims-"): options[key] for key in options if key[2:] not in NOT_A_QUESTION},
        "weights of": had.newest(one.source),
    }
    return Job(
        name=one.name,
        source=one.source,
        results=plan.results,
        command=(*suite, *(word for option in options.items() if option[1] for word in option), *flags),
        asked=asked,
        tree=str(TREE),
        cpus=one.cpus,
        gpus=one.gpus,
        memory=one.memory,
        seconds=one.seconds,
        is_forked=file.device == "cpu" and suite is SUITE,
        is_built_here=one.source in given.built,
        drop_weights=drop,
    )


# Files are known by what is in them; the budget changes what a run takes, and not what it finds.
NOT_A_QUESTION = ("claims-circuit", "claims-prompt-file", "claims-memory")


def _run(due: Sequence[Job], asked: argparse.Namespace, console: Console) -> None:
    """Ask what is due, and say of each that could not be asked why."""
    if not due:
        return
    on_ray = asked.address or asked.engine == "ray" or (asked.engine == "auto" and is_installed())
    events: Iterator[Running | Outcome] = (
        run_on_ray(due, cpus=asked.cpus, address=asked.address) if on_ray else run_here(due, cpus=asked.cpus)
    )
    with closing(events):
        for outcome in told(events, len(due), console):
            if outcome.kind != "ran":
                console.print(f"{outcome.name}: {outcome.kind}: {outcome.message}", markup=False)


def _written(
    plan: Plan, jobs: Mapping[str, Job], results: Results, curves: Mapping[str, Sequence[str]], *, title: str
) -> Sweep:
    """Everything that lies there, as record, table and page."""
    runs = [_ran(one, results, jobs[one.name]) for one in plan.in_order]
    sweep = sweep_of(runs, against=plan.file.against, curves=curves)
    now = datetime.now(timezone.utc).isoformat(timespec="minutes")
    results.write("sweep.json", sweep.model_dump_json() + "\n")
    results.write("sweep.csv", as_csv(sweep))
    heading = f"Circuit claims of {counted(len(runs), 'model')}: {title}"
    results.write("sweep.html", page(sweep, title=heading, written=now))
    return sweep


def _ran(one: Asked, results: Results, job: Job) -> Ran:
    found = results.found(one.name, job.asked)
    if found.state != "done":
        return Ran(one, found.outcome if found.state == "failed" else None, None)
    content = results.read(f"runs/{one.name}/claims.json")
    try:
        return Ran(one, found.outcome, Session.model_validate_json(content))
    except ValueError as error:  # whole, and of another version of this suite
        raise BaselineError(
            f"{results.where}/runs/{one.name}/claims.json cannot be read by this version of the suite: remove that "
            "folder, and the same command asks that model again"
        ) from error


def _said(sweep: Sweep, where: str) -> int:
    """Say how it came out. The exit status."""
    kinds = Counter(one.kind for one in sweep.columns)
    others = ", ".join(f"{count} {kind}" for kind, count in kinds.items() if kind != "ran")
    print(f"{kinds['ran']} of {counted(len(sweep.columns), 'model')} were asked{others and f' ({others})'}")
    drifted = [one for one in sweep.drift if one.drifted]
    if sweep.drift:
        names = f": {first_of([one.new for one in drifted], LISTED)}" if drifted else ""
        print(f"{len(drifted)} of {len(sweep.drift)} drifted{names}")
    print(f"written: {where}/sweep.html, sweep.json and sweep.csv")
    if kinds["ran"] < len(sweep.columns):
        return NOT_ALL
    return DRIFT if drifted else 0


def _refusal(changed: Mapping[str, Found], where: str) -> str:
    name, one = next(iter(changed.items()))
    more = f", and {len(changed) - 1} more models were asked otherwise" if len(changed) > 1 else ""
    return (
        f"{where} holds what {name} said when it was asked otherwise ({'; '.join(one.differs)}){more}: add --again to "
        "ask anew, or name another folder with results"
    )


def _dry_run(plan: Plan, found: Mapping[str, Found], built: Collection[str]) -> int:
    """List every model with its state and size. The exit status: whether all can be had."""
    faults, total = 0, 0
    for one in plan.in_order:
        state = found[one.name].state
        try:
            size = 0 if one.source in built else had.size(one.source)
            total += size
            said = "built here" if one.source in built else f"{size / 1e6:,.1f} MB"
        except CannotLoad as error:
            faults += 1
            said = f"cannot be had: {error}"
        print(f"{one.name}: {'done' if state == 'done' else f'{state}, would be asked'}; {said}")
    due = sum(one.state != "done" for one in found.values())
    print(f"{due} of {counted(len(found), 'model')} would be asked; {total / 1e9:,.2f} GB of weights in all")
    return NOT_ALL if faults else 0


@contextmanager
def _terminated(signals: list[int]) -> Iterator[None]:
    """While the block lasts, SIGTERM stops the sweep as Ctrl-C does, and is added to `signals`: what Ray raises in turn
    does not say which of them it was."""

    def stop(number: int, frame: object) -> None:
        signals.append(number)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
