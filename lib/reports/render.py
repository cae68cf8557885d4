"""Renders a kept run again, without running anything: `python -m lib.reports.render reports/claims.json page.html`.

The page has no log of pytest's. Exit status: 0, or 2 where a file cannot be read or written.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from lib.files import write_whole
from lib.judging.baselines import BaselineError, read_session
from lib.reports.html_report import page


def main(arguments: Sequence[str] | None = None, *, program: str = "python -m lib.reports.render") -> int:
    """The exit status. program: what its messages call it."""
    parser = argparse.ArgumentParser(prog=program, description="Render a kept claims.json again.")
    parser.add_argument("source", type=Path, help="the claims.json")
    parser.add_argument("target", type=Path, help="the page to write")
    asked = parser.parse_args(arguments)
    try:
        write_whole(asked.target, page(read_session(asked.source)))
    except (BaselineError, OSError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
