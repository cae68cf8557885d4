"""When a circuit appears in three models that were trained alike but for their seed, and whether all end with the same.

The sweep of ioi_fixtures/sweep/sweep.toml over the checkpoints of `make train`, under Ray with two workers, with one,
and without Ray, one model at a time: the same figures to the last bit, or the exit status is 1. Writes
docs/evidence/TRAINING.md, its picture, and the sweep's record, table and page into docs/evidence/training/. What has
run is kept beside the checkpoints, so the program may be stopped and go on; times are of runs made in one go.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

from benchmarks.pages import evidence
from benchmarks.pages.picture import take
from ioi_fixtures.circuits.circuit_file import read_circuit
from ioi_fixtures.sweep import __main__ as command
from ioi_fixtures.sweep.training import FOLDER as CHECKPOINTS
from ioi_fixtures.sweep.training import SEEDS, STEPS_KEPT
from lib.judging.measurements import Session
from lib.sweep.page import readable, since
from lib.sweep.records import Column, Curve, Role, Sweep
from lib.sweep.results import Outcome

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FILE = Path(command.__file__).with_name("sweep.toml")
KEPT = evidence.FOLDER / "training"
PICTURE = evidence.FOLDER / "training.png"
WORKERS = {"on-ray": ("ray", 2), "on-ray-alone": ("ray", 1), "without-ray": ("local", 1)}
TIMES = "times.json"
TASK, WHOLE = "the model does the task", "the circuit alone does the task"


def trained() -> list[int]:
    """The seeds whose checkpoints are all there."""
    return [seed for seed in SEEDS if all((CHECKPOINTS / f"seed{seed}" / f"step{n}").is_dir() for n in STEPS_KEPT)]


def file_of(seeds: Sequence[int]) -> Path:
    """The sweep's file, with the groups of these seeds alone."""
    head, *groups = FILE.read_text(encoding="utf-8").split("[[models]]")
    kept = [group for group in groups if any(f"/seed{seed}/" in group for seed in seeds)]
    text = "[[models]]".join([head, *kept])
    here = FILE.parent
    text = text.replace('"../../', f'"{here.parents[1]}/').replace('circuit = "', f'circuit = "{here}/')
    path = CHECKPOINTS / "training.toml"
    path.write_text(text, encoding="utf-8")
    return path


def swept(name: str, file: Path) -> dict:
    """The sweep in a folder of that name, with what it cost where it was made in one go."""
    engine, cpus = WORKERS[name]
    folder, clock, load = CHECKPOINTS / name, time.monotonic(), os.getloadavg()[0]
    begun = folder.exists()
    status = command.main([str(file), "--results", str(folder), "--engine", engine, "--cpus", str(cpus)])
    if status > 1:
        raise SystemExit(f"the sweep {name} ended with {status}")
    if not begun:
        cost = {"seconds": time.monotonic() - clock, "load before": load}
        (folder / TIMES).write_text(json.dumps(cost), encoding="utf-8")
    return json.loads((folder / TIMES).read_text(encoding="utf-8")) if (folder / TIMES).is_file() else {}


def figures(name: str) -> dict[tuple[str, str, str], tuple]:
    """Every figure of every model of a sweep, prompt by prompt."""
    found = {}
    for path in sorted((CHECKPOINTS / name / "runs").glob("*/claims.json")):
        for claim in Session.model_validate_json(path.read_bytes()).claims:
            for one in claim.measurements:
                found[path.parent.name, one.test, one.label] = (one.value, one.low, one.high, tuple(one.per_prompt))
    return found


def overheads(name: str) -> list[tuple[float, float, int]]:
    """For every run of a sweep: seconds of the task, of the suite's own session in it, and the most bytes it held."""
    found = []
    for path in sorted((CHECKPOINTS / name / "runs").glob("*/outcome.json")):
        outcome = Outcome.model_validate_json(path.read_bytes())
        suite = Session.model_validate_json(path.with_name("claims.json").read_bytes()).seconds
        found.append((outcome.seconds, suite, outcome.peak_bytes))
    return found


def half_way(values: dict[str, float], columns: list[Column]) -> str:
    """From which step on a figure stays above half of what it is in the end; empty where it is nothing then."""
    known = [(one.step, values[one.name]) for one in columns if one.name in values]
    if not known or known[-1][1] <= 0:
        return ""
    first = known[-1][0]
    for step, value in reversed(known):
        if value <= known[-1][1] / 2:
            break
        first = step
    return f"{first:,}"


def appearing(sweep: Sweep) -> Iterator[str]:
    """A row a figure: from which step on it is above half of its end, in each seed."""
    lines = by_line(sweep)
    for title, values in [*map(of_curve, sweep.curves), *map(of_role, sweep.roles)]:
        steps = [half_way(values, columns) for columns in lines.values()]
        if any(steps):
            yield f"| {title} | {' | '.join(steps)} |"


def of_curve(curve: Curve) -> tuple[str, dict[str, float]]:
    return curve.title, {point.model: point.value for line in curve.lines.values() for point in line}


def of_role(role: Role) -> tuple[str, dict[str, float]]:
    sign = -1 if role.title.endswith("the lowest") else 1
    return f"{role.title}, the leading head", {name: sign * lead.value for name, lead in role.leads.items()}


def ends(sweep: Sweep) -> Iterator[str]:
    """A row a role: who leads in each seed's last checkpoint, and how much."""
    last = {line: columns[-1].name for line, columns in by_line(sweep).items()}
    for role in sweep.roles:
        leads = [role.leads[name] for name in last.values()]
        same = "yes" if len({lead.head for lead in leads}) == 1 else "no"
        yield f"| {role.title} | {' | '.join(f'{lead.head} ({lead.value:.2f})' for lead in leads)} | {same} |"


def holding(sweep: Sweep) -> Iterator[str]:
    """A row a seed: how many claims of the circuit hold at its end."""
    for line, columns in by_line(sweep).items():
        cells = [row.cells[columns[-1].name] for row in sweep.rows if columns[-1].name in row.cells]
        held = sum(cell.standing == "holds" for cell in cells)
        appears = {readable(part): steps.get(line, "") for part, steps in since(sweep).items()}
        asked = circuits()[line].name
        yield f"| {line} | {asked} | {held} of {len(cells)} | {appears.get(WHOLE) or 'never'} |"


def circuits() -> dict[str, Path]:
    """The circuit file that the models of each line are asked, as the sweep's file has it."""
    file = tomllib.loads(FILE.read_text(encoding="utf-8"))
    return {group["line"]: FILE.parent / group.get("circuit", file["circuit"]) for group in file["models"]}


def classes(sweep: Sweep) -> Iterator[str]:
    """A row a class: its heads in each seed whose last checkpoint does the task."""
    own = {}
    for line, columns in by_line(sweep).items():
        does = next(row.cells[columns[-1].name].standing for row in sweep.rows if readable(row.claim) == TASK)
        circuit = read_circuit(circuits()[line]).classes if does == "holds" else ()
        own[line] = {one.name: " ".join(map(str, one.heads)) for one in circuit}
    for name in dict.fromkeys(name for found in own.values() for name in found):
        yield f"| {name} | {' | '.join(found.get(name, '') for found in own.values())} |"


def by_line(sweep: Sweep) -> dict[str, list[Column]]:
    """The models of each seed, in order of step."""
    found: dict[str, list[Column]] = {}
    for one in sweep.columns:
        found.setdefault(one.line, []).append(one)
    return found


def page(sweep: Sweep, costs: dict[str, dict], both: int, same: int) -> str:
    """The whole of TRAINING.md. both: how many models were asked under Ray and without. same: their figures."""
    lines = list(by_line(sweep))
    head = f"| {' | '.join(lines)} |"
    rule = "---|" * len(lines)
    text = [
        "# When a circuit appears, in models that differ by their seed",
        "",
        f"{len(sweep.columns)} checkpoints, {len(sweep.columns) // len(lines)} at log-spaced steps of each of "
        f"{len(lines)} (of {len(SEEDS)}) models that were trained alike but for their seed (`make train`; the first is "
        "the kept model of ioi_fixtures/trained). Those of a seed were asked the claims of the circuit that the search "
        "found in its last checkpoint, on other prompts (files beside ioi_fixtures/sweep/sweep.toml), or, where that "
        "one does not do the task, so that there is none to find, of another seed's. "
        "[The page](training/sweep.html), [its record](training/sweep.json) and [the table](training/sweep.csv) are "
        "kept; its links lead to the models' own reports, which are made again with it.",
        "",
        f"![The page of the sweep]({PICTURE.name})",
        "",
        "## Is it the same circuit?",
        "",
        "| seed | asked the circuit in | claims that hold at the end | the circuit alone does the task from step |",
        "|---|---|---|---|",
        *holding(sweep),
        "",
        "The classes of each seed's own circuit, as the search names them, and their heads:",
        "",
        f"| class {head}",
        f"|---|{rule}",
        *classes(sweep),
        "",
        "The head that leads each role in the last checkpoint, and how much:",
        "",
        f"| role {head} the same |",
        f"|---|{rule}---|",
        *ends(sweep),
        "",
        "## When",
        "",
        "The step from which on a figure stays above half of what it is in the end. Empty: in the end it is not above "
        "zero, or it was not measured, as shares of a logit difference are not where there is none.",
        "",
        f"| figure {head}",
        f"|---|{rule}",
        *appearing(sweep),
        "",
        "## With Ray and without",
        "",
        f"{both} of {len(sweep.columns)} models were asked both ways: all {same:,} figures, with their intervals and "
        "their values prompt by prompt, are the same to the last bit under Ray with two workers and without Ray, one "
        "model at a time.",
        "",
        *map(_cost, costs.items()),
        *_faster(costs),
        "",
    ]
    return "\n".join(text)


def _cost(of: tuple[str, dict]) -> str:
    name, cost = of
    runs = overheads(name)
    share = statistics.median(1 - suite / task for task, suite, _ in runs)
    beyond = statistics.median(task - suite for task, suite, _ in runs)
    peak = max(peak for *_, peak in runs)
    wall = f"{cost['seconds']:.0f} s in all, at a load of {cost['load before']:.1f} before; " if cost else ""
    return (
        f"- {name.replace('-', ' ')}: {wall}{statistics.median(task for task, *_ in runs):.1f} s a model (median), of "
        f"which {beyond:.1f} s are not the suite's own session ({share:.0%}); at the most {peak / 1e6:.0f} MB a process"
    )


def _faster(costs: dict[str, dict]) -> Iterator[str]:
    two, one = ("on-ray", "on-ray-alone")
    faster = span(one) / span(two)
    text = f"- two workers are {faster:.2f} times as fast as one, from the first model's start to the last's end"
    if all(costs[name] for name in (two, one)):
        text += f"; {costs[one]['seconds'] / costs[two]['seconds']:.2f} times with Ray's own start and end"
    yield text


def span(name: str) -> float:
    """Seconds from the start of a sweep's first run to the end of its last."""
    runs = [Outcome.model_validate_json(path.read_bytes()) for path in (CHECKPOINTS / name).glob("runs/*/outcome.json")]
    begun = [datetime.fromisoformat(one.started).timestamp() for one in runs]
    return max(start + one.seconds for start, one in zip(begun, runs, strict=True)) - min(begun)


def main() -> int:
    """The exit status."""
    seeds = trained()
    if not seeds:
        raise SystemExit(f"there are no checkpoints in {CHECKPOINTS}: make train")
    file = file_of(seeds)
    costs = {name: swept(name, file) for name in WORKERS}
    one, other = (figures(name) for name in ("on-ray", "without-ray"))
    both = {key[0] for key in one} & {key[0] for key in other}
    asked_both_ways = [key for key in one.keys() | other.keys() if key[0] in both]
    differing = [key for key in asked_both_ways if one.get(key) != other.get(key)]
    if differing:
        print(f"{len(differing)} figures differ with Ray and without, such as {differing[0]}")
        return 1
    made = CHECKPOINTS / "on-ray"
    KEPT.mkdir(exist_ok=True)
    for name in ("sweep.json", "sweep.csv", "sweep.html"):
        shutil.copy(made / name, KEPT)
    take(KEPT / "sweep.html", PICTURE)
    sweep = Sweep.model_validate_json((made / "sweep.json").read_bytes())
    text = page(sweep, costs, len(both), len(asked_both_ways))
    evidence.write("TRAINING.md", text, command="make training", of="other things")
    return len(both) < len(SEEDS) * len(STEPS_KEPT)


if __name__ == "__main__":
    sys.exit(main())
