"""How many prompts to take at once: as many as a memory budget holds.

Prompts never mix in an instrument, so any split of them gives the same values. Where the estimate was too low for a
GPU, the batch is halved and the caller is told by a warning.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import psutil
import torch
from torch import Tensor

# A matrix product of this many rows already runs at full rate; larger batches only cost memory.
ENOUGH_ROWS = 16384


class BatchHalved(UserWarning):
    """The GPU ran out of memory, and the work went on with half as many prompts at once."""


def free_memory(device: torch.device) -> int:
    """Bytes free on `device` now."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return psutil.virtual_memory().available


def in_batches(
    measure: Callable[[Tensor], Tensor], prompts: Tensor, *, rows: int, row_bytes: int, budget: int | None
) -> Tensor:
    """measure(some of the prompts) for all of `prompts`, put together again along the last axis.

    prompts: indices [batch]. rows: matrix rows one prompt takes at the most. row_bytes: memory of one row. budget:
    bytes for all rows (weights and cached runs come on top), or None for half of the memory that is free. Raises
    ValueError where the budget does not hold one prompt; warns BatchHalved where a GPU's memory ran out although the
    budget said otherwise.
    """
    budget = free_memory(prompts.device) // 2 if budget is None else budget
    size = min(budget // (rows * row_bytes), -(-ENOUGH_ROWS // rows))
    if size < 1:
        raise ValueError(f"a budget of {budget} bytes does not hold one prompt: give at least {rows * row_bytes}")
    done: list[Tensor] = []
    start = 0
    while start < len(prompts):
        part = _unless_out_of_memory(measure, prompts[start : start + size])
        if part is not None:
            done.append(part)
            start += size
        elif size == 1:
            raise ValueError("the GPU's memory does not hold the work on one prompt: free some, or use another device")
        else:
            size //= 2
            warnings.warn(f"out of GPU memory: going on with {size} prompts at once", BatchHalved, stacklevel=2)
    return torch.cat(done, -1)


def _unless_out_of_memory(measure: Callable[[Tensor], Tensor], prompts: Tensor) -> Tensor | None:
    """measure(prompts), or None; by then the failed attempt's tensors are gone, which the exception kept alive."""
    try:
        return measure(prompts)
    except torch.cuda.OutOfMemoryError:
        pass
    torch.cuda.empty_cache()
    return None
