"""Writes docs/evidence/CLAIMS.md, every claim in a table, from the run kept in reports/baselines/.

`make docs` runs the claims and then this. What GPT-2 small's column says is not measured here: it says where a figure
has been verified, or that it is to be verified on a machine with the weights.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.pages import evidence
from lib.judging.baselines import read_session
from lib.judging.measurements import Claim, Measurement, Session
from lib.judging.verdicts import measured

NAME = "CLAIMS.md"
REAL_WEIGHTS = "test_weights.py"  # the family that needs attention weights alone, which are at hand
HEAD = """# Every claim

From [the last kept run on the reference model](../../reports/baselines/planted.json); a test fails when it is stale.
"Accepted" is the band of [ioi_fixtures/published/](../../ioi_fixtures/published/README.md), where the reason for it
stands. The value is this suite's on `planted`, whose circuit is constructed: it says that the instruments find what is
there, and nothing about GPT-2 small.

"""
COLUMNS = ("claim", "published", "source", "accepted", "on planted", "GPT-2 small")


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
    return HEAD + about + "".join(_family(name, claims) for name, claims in files.items())


def _family(name: str, claims: list[Claim]) -> str:
    rows = [_row(name, claim, figure) for claim in claims for figure in claim.measurements]
    lines = [COLUMNS, ("---",) * len(COLUMNS), *rows]
    return f"\n## {name}\n\n" + "".join(f"| {' | '.join(map(_cell, line))} |\n" for line in lines)


def _row(name: str, claim: Claim, figure: Measurement) -> tuple[str, ...]:
    published = figure.published
    real = "verified here" if name == REAL_WEIGHTS else "published, to be verified on a machine with the weights"
    value = " ".join(filter(None, measured(figure)))
    return (f"{claim.sentence} *{figure.label}*", published.says, published.source, str(published.accept), value, real)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    kept = read_session(evidence.BASELINE)
    evidence.write(NAME, table(kept), command="make docs", session=kept)
