"""The same interventions by the fast instruments and by plain hook loops, in one process: ratio, agreement, work.

Run: python -m benchmarks.bench [--prompts 100] [--threads 2] [--device cuda] [--only paths minimality ...], or with
--shape pythia-160m or smollm2-135m. The model is a randomly initialised one of that shape, GPT-2 small's where none is
named, with its full vocabulary; prompts are random tokens of 15 to 21, laid out like the published templates. A loop is
timed on a sample of its passes and scaled, since all its passes cost the same; both sides use the same cached runs.
FLOPs are counted by torch.utils.flop_counter: matrix products alone. On a GPU a second table counts launches, copies
and synchronisation points of both sides. docs/evidence/BENCH.md holds what was measured.
"""

from __future__ import annotations

import argparse
import os
import platform
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from statistics import median

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import scaling
from benchmarks.device import COSTS, costs, timed
from benchmarks.shapes import PARTS_OF_SHAPES, SHAPES, case_of
from benchmarks.work import PARTS, Case, Work, make_case
from lib.models.model import CannotLoad, choose_device


@dataclass(frozen=True)
class Timing:
    """One piece of work, both ways. Seconds, FLOPs, and the largest difference in logit difference."""

    name: str
    passes: int
    fast_s: float
    loop_s: float
    fast_flops: int
    loop_flops: int
    difference: float


def measure(work: Work, pass_flops: int, device: torch.device) -> Timing:
    """Time the instrument whole, and each of the work's sampled loop passes; compare what they return.

    The instrument's FLOPs are counted while it is timed, so that what counting costs is its own loss.
    """
    if device.type == "cuda":
        work.fast()  # a GPU loads a kernel at its first use
    with FlopCounterMode(display=False) as counter:
        table, fast_s = timed(work.fast, device)
    differences, seconds = [], []
    for pick, loop in work.samples:
        value, taken = timed(loop, device)
        differences.append(float((pick(table) - value).abs().max()))
        seconds.append(taken)
    per_item = median(seconds)
    return Timing(
        name=work.name,
        passes=work.items * work.passes_per_item,
        fast_s=fast_s,
        loop_s=per_item * work.items,
        fast_flops=counter.get_total_flops(),
        loop_flops=work.items * work.passes_per_item * pass_flops,
        difference=max(differences),
    )


def matmul_rate(device: torch.device, *, size: int = 2048, repeats: int = 10) -> float:
    """FLOP/s of this machine now, at float32 matrix products of an MLP's shape: the median of some."""
    x, w = torch.randn(size, 768, device=device), torch.randn(768, 3072, device=device)
    seconds = sorted(timed(lambda: x @ w, device)[1] for _ in range(repeats))
    return 2 * size * 768 * 3072 / seconds[repeats // 2]


def row(timing: Timing, rate: float) -> str:
    """One line of the table."""
    return (
        f"| {timing.name} | {timing.passes} | {timing.loop_s:.0f} | {timing.fast_s:.1f} "
        f"| **{timing.loop_s / timing.fast_s:.0f}x** | {timing.loop_flops / timing.fast_flops:.0f}x "
        f"| {timing.fast_flops / 1e12:.2f} | {timing.fast_flops / timing.fast_s / rate:.0%} "
        f"| {timing.loop_flops / timing.loop_s / rate:.0%} | {timing.difference:.1e} |"
    )


def total(name: str, timings: list[Timing]) -> Timing:
    """Several pieces of work as one."""
    return Timing(
        name,
        sum(timing.passes for timing in timings),
        sum(timing.fast_s for timing in timings),
        sum(timing.loop_s for timing in timings),
        sum(timing.fast_flops for timing in timings),
        sum(timing.loop_flops for timing in timings),
        max(timing.difference for timing in timings),
    )


def count(work: Work, device: torch.device) -> str:
    """One line of the table of what a GPU waits for: the instrument, and the loop, scaled from one of its passes."""
    fast, (_, one_pass) = costs(work.fast, device), work.samples[0]
    loop = {cost: number * work.items for cost, number in costs(one_pass, device).items()}
    return f"| {work.name} | " + " | ".join(f"{fast[cost]} / {loop[cost]}" for cost in COSTS) + " |"


def machine(device: torch.device) -> str:
    """What the figures were measured on."""
    gpu = f"{torch.cuda.get_device_name(device)}, " if device.type == "cuda" else ""
    return gpu + (
        f"{date.today()}, {platform.processor() or platform.machine()}, {os.cpu_count()} cores, "
        f"{torch.get_num_threads()} threads, torch {torch.__version__}, Python {platform.python_version()}, "
        f"load average {os.getloadavg()[0]:.1f}"
    )


def measured_on(n: int) -> str:
    """The same for a page of figures of `n` prompts on a CPU, with the libraries that ran the model."""
    versions = ", ".join(f"{name} {version(name)}" for name in ("transformer-lens", "transformers"))
    return f"N = {n} prompts; {machine(torch.device('cpu'))}; {versions}."


def compare(case: Case, parts: Mapping[str, Callable[[Case], Iterable[Work]]]) -> None:
    """Print the table of every part, and on a GPU what it waits for."""
    device = case.model.device
    with FlopCounterMode(display=False) as counter:
        case.model.run(case.clean.tokens, last=case.clean.last)
    print("| work | passes | loop s | fast s | ratio | FLOP ratio | TFLOP | fast rate | loop rate | difference |")
    print("|---|---|---|---|---|---|---|---|---|---|", flush=True)
    done: list[Timing] = []
    for part, works in parts.items():
        timings = []
        for work in works(case):
            rate = matmul_rate(device)
            timings.append(measure(work, counter.get_total_flops(), device))
            print(row(timings[-1], max(rate, matmul_rate(device))), flush=True)
        done.append(total(f"{part}, together", timings))
        print(row(done[-1], matmul_rate(device)), flush=True)
    if parts == PARTS:
        for pair, other in (("A", "-B"), ("B", "-A")):
            whole = [timing for part, timing in zip(parts, done, strict=True) if not part.endswith(other)]
            print(row(total(f"everything, with pair {pair}", whole), matmul_rate(device)), flush=True)
    if device.type == "cuda":
        print("\n| work: instrument / loop | " + " | ".join(COSTS) + " |\n|---" + "|---" * len(COSTS) + "|", flush=True)
        for work in (work for works in parts.values() for work in works(case)):
            print(count(work, device), flush=True)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prompts", type=int, default=100, help="prompts in the batch")
    parser.add_argument("--threads", type=int, default=2, help="torch threads")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    parser.add_argument("--shape", choices=SHAPES, help="a model of this shape instead of GPT-2 small's")
    parser.add_argument("--only", nargs="+", choices=[*PARTS, "scaling"], default=[*PARTS, "scaling"])
    options = parser.parse_args()
    try:
        device = choose_device(options.device)
    except CannotLoad as error:
        parser.error(str(error).replace("--claims-device", "--device"))
    torch.set_num_threads(options.threads)
    torch.set_grad_enabled(False)
    rate = matmul_rate(device) / 1e9
    print(f"{machine(device)}; N = {options.prompts}; matrix products at {rate:.0f} GFLOP/s", flush=True)
    if options.shape:
        compare(case_of(options.shape, options.prompts, device=options.device), PARTS_OF_SHAPES)
        return
    parts = {part: works for part, works in PARTS.items() if part in options.only}
    if parts:
        compare(make_case(options.prompts, device=options.device), parts)
    if "scaling" in options.only:
        scaling.report(options.device, prompts=options.prompts)


if __name__ == "__main__":
    main()
