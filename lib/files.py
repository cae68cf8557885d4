"""Files that are whole or not there: written under a temporary name of their own and renamed.

A reader never sees half a file, what a failed write was to replace stays as it was, and of two processes that write the
same file the later one wins, whole. Files that belong together are renamed under a lock, so that those of two processes
never mix. Only a process that is killed between two renames leaves files of two runs; the start of the run, which each
of them names, tells.
"""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import FileLock

LOCK = ".lock"  # an empty file that stays: removing it would let two processes hold it at once
PATIENCE = 60  # seconds; whoever holds the lock renames two files


def write_whole(path: Path, text: str) -> None:
    """Write `text` to `path` as UTF-8, making its folder. Raises OSError; then `path` is as it was."""
    with _beside(path, text) as written:
        written.replace(path)


def write_together(folder: Path, texts: Mapping[str, str]) -> None:
    """Write the files of `folder` that `texts` names, all of them or none, and each with the others of its own process.

    Somebody who reads several of them holds `locked(folder)` meanwhile. Raises OSError, TimeoutError among them; then
    all are as they were.
    """
    with ExitStack() as stack:
        written = {folder / name: stack.enter_context(_beside(folder / name, text)) for name, text in texts.items()}
        stack.enter_context(locked(folder))
        for path in written:
            if path.is_dir():  # the one thing that a rename could still stumble over, after another has been done
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        for path, part in written.items():
            part.replace(path)


def locked(folder: Path) -> FileLock:
    """A lock on the files of `folder` that belong together, to be held in a `with`. The system frees it where its
    holder dies."""
    return FileLock(folder / LOCK, timeout=PATIENCE, mode=0o666)  # another user may come next


def check_writable(folder: Path) -> None:
    """Raises OSError where no file can be made in `folder`, which is made if need be."""
    write_whole(folder / "writable", "")
    (folder / "writable").unlink(missing_ok=True)  # another run may have tried at the same time


@contextmanager
def _beside(path: Path, text: str) -> Iterator[Path]:
    """`text` in a file beside `path`, to be renamed; what has not been renamed is removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        with part.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())  # some file systems notice only here that they are full
        yield part
    finally:  # after Ctrl-C too; where all went well it has been renamed
        part.unlink(missing_ok=True)
