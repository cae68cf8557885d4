"""How time and memory of an instrument grow with the number of prompts, the width of the model, and the budget."""

from __future__ import annotations

import threading
import time

import psutil
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.work import Case, make_case
from lib.instruments.path_patching import path_patch_to_logits

MIB = 2**20


class PeakMemory:
    """The most memory this process held beyond what it held on entering."""

    def __enter__(self) -> PeakMemory:
        self._process = psutil.Process()
        self._before = self._most = self._process.memory_info().rss
        self._stop = threading.Event()
        self._watch = threading.Thread(target=self._look)
        self._watch.start()
        return self

    def _look(self) -> None:
        while not self._stop.wait(0.002):
            self._most = max(self._most, self._process.memory_info().rss)

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._watch.join()

    @property
    def mib(self) -> float:
        return (self._most - self._before) / MIB


def all_heads_to_logits(case: Case, *, budget: int | None = None) -> tuple[float, float, float]:
    """Seconds, TFLOP and peak MiB of patching every head's path to the logits."""
    with PeakMemory() as memory, FlopCounterMode(display=False) as counter:
        start = time.perf_counter()
        path_patch_to_logits(case.model.weights, case.clean, case.pairs["B"], case.batch.answers, budget=budget)
        seconds = time.perf_counter() - start
    return seconds, counter.get_total_flops() / 1e12, memory.mib


def report() -> None:
    """Print the three tables."""
    print("\n| N | d_model | budget MiB | s | TFLOP | s per TFLOP | peak MiB |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for n, n_embd, budget in (
        (25, 384, None),
        (100, 384, None),
        (400, 384, None),
        (100, 192, None),
        (100, 768, None),
        (100, 384, 20),
        (100, 384, 100),
    ):
        case = make_case(n, n_embd=n_embd, vocab_size=500)
        seconds, tflop, mib = all_heads_to_logits(case, budget=None if budget is None else budget * MIB)
        shown = "free / 2" if budget is None else budget
        figures = f"{seconds:.1f} | {tflop:.2f} | {seconds / tflop:.1f} | {mib:.0f}"
        print(f"| {n} | {n_embd} | {shown} | {figures} |", flush=True)
