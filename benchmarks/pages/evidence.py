"""Where the pages that programs write are kept, and the line by which each says what it was made with.

tests/pages/test_evidence_pages.py compares that line with the present model and claims, so a stale page fails a test.
"""

from __future__ import annotations

import re
import subprocess
from datetime import date
from pathlib import Path

from ioi_fixtures import planted
from lib.judging.baselines import read_session
from lib.judging.measurements import Session
from lib.models.model import hash_weights

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "evidence"
BASELINE = ROOT / "reports" / "baselines" / "planted.json"
_BY = r"^Made by `(?P<command>[^`]+)` on (?P<date>\d{4}-\d\d-\d\d) at commit (?P<commit>[0-9a-f]{7,}|unknown)"
_OF = r", on the reference model (?P<model>[0-9a-f]{8}) with (?P<claims>\d+) claims|; not about the reference model"
MADE = re.compile(rf"{_BY}({_OF})\.\n\n", re.MULTILINE)


def write(name: str, text: str, *, command: str, session: Session | None = None, about_it: bool = True) -> None:
    """Write a page of FOLDER, with a line under its heading that says what made it, when, and of what.

    session: a run on the reference model that it is made from; the kept baseline's claims and today's model otherwise.
    about_it: whether the page says anything about the reference model.
    """
    heading, _, rest = text.partition("\n\n")
    (FOLDER / name).write_text(f"{heading}\n\n{_made(command, session, about_it)}\n\n{rest}", encoding="utf-8")
    print(f"written: {FOLDER / name}")


def read(name: str) -> str:
    """A page without that line."""
    return MADE.sub("", (FOLDER / name).read_text(encoding="utf-8"), count=1)


def _made(command: str, session: Session | None, about_it: bool) -> str:
    made = f"Made by `{command}` on {date.today()} at commit {_commit()}"
    if not about_it:
        return f"{made}; not about the reference model."
    claims = (session or read_session(BASELINE)).claims
    model = session.subjects[0].weights_hash if session else hash_weights(planted.directory())
    return f"{made}, on the reference model {model[:8]} with {len(claims)} claims."


def _commit() -> str:
    asked = ["git", "rev-parse", "--short", "HEAD"]
    done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"
