"""Compares two kept runs: `python -m lib.reports.compare OLD NEW --html FILE`.

Prints what drifted from OLD to NEW and, where asked, writes a page of it. Exit status: 0 where nothing drifted, 1 where
something did, 2 where a file cannot be read or written.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from lib.files import write_whole
from lib.judging.baselines import BaselineError, compare, read_session
from lib.reports.drift_page import page
from lib.reports.terminal import render_drift


def main(arguments: Sequence[str] | None = None, *, program: str = "python -m lib.reports.compare") -> int:
    """The exit status. program: what its messages call it."""
    parser = argparse.ArgumentParser(prog=program, description="Compare two claims.json files.")
    parser.add_argument("old", type=Path, help="the claims.json of the earlier run")
    parser.add_argument("new", type=Path, help="the claims.json of the later run")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write the comparison as a page")
    asked = parser.parse_args(arguments)
    try:
        old, new = read_session(asked.old), read_session(asked.new)
        comparison = compare(old, new, name=str(asked.old))
        if asked.html:
            write_whole(asked.html, page(comparison, title=f"{asked.new.name} against {asked.old.name}"))
    except (BaselineError, OSError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    render_drift(comparison, Console(highlight=False))
    return 1 if comparison.drifted else 0


if __name__ == "__main__":
    sys.exit(main())
