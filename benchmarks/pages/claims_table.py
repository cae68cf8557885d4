"""Writes docs/evidence/CLAIMS.md, every claim in a table, from the run kept in reports/baselines/.

`make docs` runs the claims and then this. What GPT-2 small does is not measured here: the page says once where its
figures are to be verified. A source is linked wherever it names something that has an address.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from benchmarks.pages import evidence
from ioi_fixtures.pytest_fixtures.outline import ADDRESSES
from lib.judging.baselines import read_session
from lib.judging.measurements import Claim, Measurement, Session
from lib.judging.verdicts import measured

NAME = "CLAIMS.md"
HEAD = """# Every claim

From [the last kept run on the reference model](../../reports/baselines/planted.json); a test fails when it is stale.
"Accepted" is the band of [ioi_fixtures/published/](../../ioi_fixtures/published/README.md), where the reason for it
stands. The value is this suite's on `planted`, whose circuit is constructed: it says that the instruments find what is
there, and nothing about GPT-2 small. GPT-2 small's figures are published ones, to be verified on a machine with its
weights (`pytest claims/ -m gpu`); the claims of test_weights.py need its attention weights alone, and hold of them.

"""
COLUMNS = ("claim", "published", "source", "accepted", "on planted")
# What sources name and is in this repository, besides the publications.
OWN: Mapping[str, str] = MappingProxyType(
    {
        "the notebook this project started from": "../NOTEBOOK.md",
        "lib/models/backends/plain.py": "../../lib/models/backends/plain.py",
        "lib/models/folding.py": "../../lib/models/folding.py",
        "tests/instruments/test_composition.py": "../../tests/instruments/test_composition.py",
    }
)
LINKS = {**ADDRESSES, **OWN}
_NAMED = re.compile("|".join(map(re.escape, sorted(LINKS, key=len, reverse=True))))  # longer names before those in them


def table(session: Session) -> str:
    """The whole of CLAIMS.md."""
    [subject] = session.subjects
    about = (
        f"Run of {session.started[:10]} on `{subject.name}` (weights {subject.weights_hash[:12]}): {subject.prompts} "
        f"prompts, seed {subject.seed}, {subject.dtype}, {subject.device}.\n"
    )
    files: dict[str, list[Claim]] = {}
    for claim in session.claims:
        files.setdefault(Path(claim.test.partition("::")[0]).name, []).append(claim)
    sources = [figure.published.source for claim in session.claims for figure in claim.measurements]
    named = {name for source in sources for name in _NAMED.findall(source)}
    links = "".join(f"[{name}]: {LINKS[name]}\n" for name in LINKS if name in named)
    return f"{HEAD}{about}{''.join(_family(name, claims) for name, claims in files.items())}\n{links}"


def linked(source: str) -> str:
    """A source with what it names as Markdown links, whose addresses stand once at the end of the page."""
    return _NAMED.sub(lambda name: f"[{name[0]}]", source)


def _family(name: str, claims: list[Claim]) -> str:
    rows = [_row(claim, figure) for claim in claims for figure in claim.measurements]
    lines = [COLUMNS, ("---",) * len(COLUMNS), *rows]
    return f"\n## {name}\n\n" + "".join(f"| {' | '.join(map(_cell, line))} |\n" for line in lines)


def _row(claim: Claim, figure: Measurement) -> tuple[str, ...]:
    published = figure.published
    value = " ".join(filter(None, measured(figure)))
    return (
        f"{claim.sentence} *{figure.label}*",
        published.says,
        linked(published.source),
        str(published.accept),
        value,
    )


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    kept = read_session(evidence.BASELINE)
    evidence.write(NAME, table(kept), command="make docs", session=kept)
