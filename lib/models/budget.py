"""How many prompts to take at once: as many as a memory budget holds; and where to keep what it does not hold.

Prompts never mix in a run or an instrument, so any split of them gives the same values. Where the estimate was too low
for a GPU, the batch is halved and the caller is told by a warning. A session's limit is a context variable, as a number
format's precision is in `decimal`: everything is under it, and nothing has to pass it on.
"""

from __future__ import annotations

import math
import mmap
import re
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

import psutil
import torch
from torch import Tensor

# A matrix product of this many rows already runs at full rate; larger batches only cost memory.
ENOUGH_ROWS = 4096
DECIMAL = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
UNITS = {**DECIMAL, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
_LIMIT: ContextVar[Callable[[torch.device], int]] = ContextVar("limit", default=lambda device: free_memory(device) // 2)


class BatchHalved(UserWarning):
    """The GPU ran out of memory, and the work went on with half as many prompts at once."""


def free_memory(device: torch.device) -> int:
    """Bytes free on `device` now."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return psutil.virtual_memory().available


def memory_size(text: str) -> int:
    """Bytes of a size such as 512MiB, 2GB or 1.5 GiB. Raises ValueError for anything else, and for less than a byte."""
    units = {unit.lower(): factor for unit, factor in UNITS.items()}
    parts = re.fullmatch(r"(\d+(?:\.\d+)?) ?([a-z]+)", text.strip().lower())
    size = int(float(parts[1]) * units.get(parts[2], 0)) if parts else 0
    if size < 1:
        raise ValueError(f"{text!r} is no memory size: give a number and one of {', '.join(UNITS)}, such as 512MiB")
    return size


@contextmanager
def within(size: int | None = None, *, processes: int = 1) -> Iterator[None]:
    """While the block lasts, runs and instruments that are given no budget take `size` bytes at the most; with None,
    half of the memory that is free, shared among as many processes as work on the same device."""
    token = _LIMIT.set(lambda device: free_memory(device) // (2 * processes) if size is None else size)
    try:
        yield
    finally:
        _LIMIT.reset(token)


def limit(device: torch.device) -> int:
    """The session's budget in bytes (see `within`)."""
    return _LIMIT.get()(device)


def room_for(shape: Sequence[int], like: Tensor) -> tuple[Tensor, Callable[[], None]]:
    """An empty tensor beside `like`, on disk where half of the budget does not hold it, but for a GPU's memory; and
    what to call when it is filled (see `on_disk`)."""
    size = math.prod(shape) * like.element_size()
    if like.device.type == "cpu" and size > limit(like.device) // 2:
        return on_disk(shape, like.dtype)
    return like.new_empty(*shape), lambda: None


def on_disk(shape: Sequence[int], dtype: torch.dtype) -> tuple[Tensor, Callable[[], None]]:
    """A tensor whose memory is a file without a name, in the folder for temporary files, which goes with the tensor;
    and what to call when its part in use is done with: the system forgets it then, and reads it again when asked.

    Raises OSError where the folder has no room for it.
    """
    size = math.prod(shape) * dtype.itemsize
    free = shutil.disk_usage(tempfile.gettempdir()).free
    if size > free:
        raise OSError(
            f"{size / 2**30:.1f} GiB of activations are more than the memory budget, and {tempfile.gettempdir()} has "
            f"{free / 2**30:.1f} GiB free: use fewer prompts, a larger --claims-memory, or another folder (TMPDIR)"
        )
    with tempfile.TemporaryFile() as file:  # which the map keeps open
        file.truncate(max(size, 1))
        mapped = mmap.mmap(file.fileno(), 0)
    content = torch.frombuffer(mapped, dtype=torch.uint8)[:size].view(dtype).view(*shape)
    forgets = hasattr(mapped, "madvise")  # not on Windows
    return content, lambda: mapped.madvise(mmap.MADV_DONTNEED) if forgets else None


def in_batches(
    measure: Callable[[Tensor], Tensor], prompts: Tensor, *, rows: int, row_bytes: int, budget: int | None
) -> Tensor:
    """measure(some of the prompts) for all of `prompts`, put together again along the last axis.

    prompts: indices [batch]. rows: matrix rows one prompt takes at the most. row_bytes: memory of one row. budget:
    bytes for all rows (weights and cached runs come on top), or None for the session's (see `within`). Raises
    ValueError where the budget does not hold one prompt; warns BatchHalved where a GPU's memory ran out although the
    budget said otherwise.
    """
    budget = limit(prompts.device) if budget is None else budget
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
