"""Files that are whole or not there: written under a temporary name of their own and renamed.

A reader never sees half a file, what a failed write was to replace stays as it was, and of two processes that write the
same file the later one wins, whole.
"""

from __future__ import annotations

import os
import uuid
from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """Write `text` to `path` as UTF-8, making its folder. Raises OSError; then `path` is as it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        with half.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())  # some file systems notice only here that they are full
        half.replace(path)
    finally:  # after Ctrl-C too; where all went well it has been renamed
        half.unlink(missing_ok=True)


def check_writable(folder: Path) -> None:
    """Raises OSError where no file can be made in `folder`, which is made if need be."""
    write_whole(folder / "writable", "")
    (folder / "writable").unlink()
