"""Where the pages that programs write are kept, and the line by which each says what it was made with.

tests/pages/test_evidence_pages.py compares that line with the present model and claims, so a stale page fails a test.
"""

from __future__ import annotations

import re
import subprocess
from datetime import date
from pathlib import Path
from typing import Literal

from ioi_fixtures import planted
from lib.judging.baselines import read_session
from lib.judging.measurements import Session
from lib.models.model import hash_weights

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "evidence"
BASELINE = ROOT / "reports" / "baselines" / "planted.json"
_BY = r"^Made by `(?P<command>[^`]+)` on (?P<date>\d{4}-\d\d-\d\d) at commit (?P<commit>[0-9a-f]{7,}|unknown)"
_OF = r", on the reference model (?P<model>[0-9a-f]{8})( with (?P<claims>\d+) claims(?P<about> about it)?)?"
MADE = re.compile(rf"{_BY}({_OF}|; not about the reference model)\.\n\n", re.MULTILINE)
Of = Literal["every claim", "claims about the model", "the model", "other things"]
ABOUT_TOOLS = "test_instruments.py"  # the family whose claims hold of any model


def write(name: str, text: str, *, command: str, of: Of = "every claim", session: Session | None = None) -> None:
    """Write a page of FOLDER, with a line under its heading that says what made it, when, and of what: it is stale when
    any of that changes.

    of: claims about the model are all but those about tools; of `other things` the reference model has no part.
    session: a run on the reference model that it is made from; the kept baseline's claims and today's model otherwise.
    """
    heading, _, rest = text.partition("\n\n")
    (FOLDER / name).write_text(f"{heading}\n\n{_made(command, of, session)}\n\n{rest}", encoding="utf-8")
    print(f"written: {FOLDER / name}")


def number(session: Session, *, about_the_model: bool) -> int:
    """How many claims a run asked, of all or of those about the model."""
    return sum(not (about_the_model and ABOUT_TOOLS in claim.test) for claim in session.claims)


def read(name: str) -> str:
    """A page without that line."""
    return MADE.sub("", (FOLDER / name).read_text(encoding="utf-8"), count=1)


def _made(command: str, of: Of, session: Session | None) -> str:
    made = f"Made by `{command}` on {date.today()} at commit {_commit()}"
    if of == "other things":
        return f"{made}; not about the reference model."
    model = session.subjects[0].weights_hash if session else hash_weights(planted.directory())
    made += f", on the reference model {model[:8]}"
    if of == "the model":
        return f"{made}."
    about = of == "claims about the model"
    claims = number(session or read_session(BASELINE), about_the_model=about)
    return f"{made} with {claims} claims{' about it' if about else ''}."


def _commit() -> str:
    asked = ["git", "rev-parse", "--short", "HEAD"]
    done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"
