"""Writes reports into their folders, those of one folder together or none, and adds to a CI job's summary.

What cannot be written is a fault in words, which says what is there instead; the earlier files stay.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lib.files import write_together
from lib.judging.measurements import Session
from lib.reports import markdown_summary


def write_reports(reports: Mapping[Path, str]) -> tuple[list[Path], list[str]]:
    """Write each text to its file. The files that are written, and what went wrong."""
    written: list[Path] = []
    faults: list[str] = []
    for folder in dict.fromkeys(path.parent.resolve() for path in reports):
        paths = [path for path in reports if path.parent.resolve() == folder]
        try:
            write_together(folder, {path.name: reports[path] for path in paths})
            written += paths
        except OSError as error:
            for path in paths:
                kept = "the file of an earlier run is still there" if path.is_file() else "there is no report"
                faults.append(f"{path} could not be written ({error.strerror or error}): {kept}")
    return written, faults


def add_summary(session: Session, file: str) -> list[str]:
    """Add the session to the end of a Markdown file, as a CI service asks for. What went wrong."""
    try:
        with open(file, "a", encoding="utf-8") as summary:
            summary.write(markdown_summary.render(session))
    except OSError as error:
        return [f"the summary could not be written to {file} ({error.strerror})"]
    return []
