"""Where models that are built on the spot are kept, and how: whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path


def default_cache() -> Path:
    """$XDG_CACHE_HOME/circuit-claims, or ~/.cache/circuit-claims."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "circuit-claims"


def built(target: Path, write: Callable[[Path], object]) -> Path:
    """`target`, written into a directory beside it and renamed where it is not there yet: two processes may both build,
    but neither sees half a model."""
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    workplace = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        write(workplace)
        try:
            workplace.rename(target)
        except OSError:
            if not target.is_dir():  # else another process was first: its model is the same
                raise
    finally:
        shutil.rmtree(workplace, ignore_errors=True)
    return target
