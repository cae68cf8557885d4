"""What a piece of work costs on a device: seconds, the most memory its tensors take, and what a GPU waits for.

A GPU works asynchronously, so seconds are counted between two moments when it has nothing to do. Launches, copies and
synchronisation points are those that torch.profiler saw, without the ones that an empty profile has.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import accumulate

import torch
from torch.profiler import ProfilerActivity, profile

# The CUDA runtime's and driver's calls, and the profiler's names of copies, by what a GPU's user pays for.
COSTS = {
    "launches": r"cu(da)?Launch.*Kernel.*",
    "to device": r"Memcpy HtoD.*",
    "from device": r"Memcpy DtoH.*",
    "on device": r"Memcpy DtoD.*",
    "syncs": r"cuda(Stream|Device|Event)Synchronize|cudaMemcpy",
}


def settle(device: torch.device) -> None:
    """Wait until a GPU has done what it was told. On a CPU nothing is ever pending."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def timed(function: Callable[[], torch.Tensor], device: torch.device) -> tuple[torch.Tensor, float]:
    """What the function returns, and the seconds it took."""
    settle(device)
    start = time.perf_counter()
    result = function()
    settle(device)
    return result, time.perf_counter() - start


def peak_bytes(function: Callable[[], object], device: torch.device) -> int:
    """The most bytes that tensors held while the function ran, beyond those from before."""
    if device.type == "cuda":
        settle(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        function()
        settle(device)
        return torch.cuda.max_memory_allocated(device) - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        function()
    # The profiler's tables sum memory by operator; only its raw events say in which order it came and went.
    changes = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    return max(accumulate((event.nbytes() for event in sorted(changes, key=lambda e: e.start_ns())), initial=0))


def costs(function: Callable[[], object], device: torch.device) -> dict[str, int]:
    """How often each of COSTS occurs while the function runs on a GPU."""
    seen, nothing = _calls(function, device), _calls(lambda: None, device)
    return {cost: count - nothing[cost] for cost, count in seen.items()}


def _calls(function: Callable[[], object], device: torch.device) -> dict[str, int]:
    settle(device)
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
        function()
    return count_costs((event.key, event.count) for event in profiler.key_averages())


def count_costs(events: Iterable[tuple[str, int]]) -> dict[str, int]:
    """Each of COSTS from the profiler's names and counts."""
    total = Counter()
    for name, count in events:
        total.update({cost: count for cost, pattern in COSTS.items() if re.fullmatch(pattern, name)})
    return {cost: total[cost] for cost in COSTS}
