"""What a run says in the terminal: per subject one line a claim file, one paragraph a claim that does not hold.

Plain text first: no meaning hangs on colour, and everything fits 80 columns. Where all claims hold it stays short.
"""

from __future__ import annotations

from pathlib import PurePosixPath

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from lib.judging.measurements import Claim, Comparison, Session
from lib.judging.verdicts import (
    MARKS,
    NO_SUBJECT,
    NOT_HOLDING,
    WORDS,
    claims_about,
    narrowed_sentence,
    precisions,
    standing,
    subject_names,
    verdict_sentence,
    why,
    worst_first,
)
from lib.reports.drift_words import drift_list, drift_sentence

LISTED = 20  # lines of a list about drift; the page has them all
STYLES = {"holds": "green", "fails": "bold red", "inconclusive": "yellow", "error": "bold red", "skipped": "dim"}


def render(session: Session, console: Console) -> None:
    """Print a session to `console`."""
    if narrowed_sentence(session):
        console.print()
        console.print(Text(narrowed_sentence(session), style="bold"))
    for subject in subject_names(session):
        claims = claims_about(session, subject)
        console.print()
        console.print(Text(f"{subject or NO_SUBJECT}: {verdict_sentence(claims)}", style="bold"))
        for line in precisions(session, subject):
            console.print(Text(line))
        for claim in claims:
            if standing(claim) in NOT_HOLDING:
                console.print(_explained(claim))
        if claims:
            console.print()
            console.print(_files(claims))
    if session.ended:
        console.print()
        console.print(Text(f"The run ended early: {session.ended}", style="bold red"))
    if session.not_measured:
        console.print()
        _print_list("Not measured", session.not_measured, console)
    if session.notes:
        console.print()
        _print_list("Notes", session.notes, console)
    if session.drift:
        console.print()
        render_drift(session.drift, console)


def render_drift(comparison: Comparison, console: Console) -> None:
    """Print what drifted from a baseline and what was different around it."""
    style = "bold red" if comparison.drifted else "bold"
    console.print(Text(f"Against {comparison.baseline}: {drift_sentence(comparison)}", style=style))
    for heading, lines in drift_list(comparison):
        more = [f"and {len(lines) - LISTED} more"] if len(lines) > LISTED else []
        _print_list(heading, [*lines[:LISTED], *more], console)


def _print_list(heading: str, lines: list[str], console: Console) -> None:
    console.print(Text(f"{heading}:", style="bold"))
    for line in lines:
        console.print(Padding(Text(line, overflow="fold"), (0, 0, 0, 2), expand=False))


def _explained(claim: Claim) -> Text:
    """One paragraph: the claim, then what was measured, the band and the source."""
    name = standing(claim)
    return Text.assemble((f"{MARKS[name]} {claim.sentence} ({WORDS[name]})", STYLES[name]), " ", why(claim))


def _files(claims: list[Claim]) -> Table:
    files: dict[str, list[Claim]] = {}
    for claim in sorted(claims, key=lambda claim: claim.test):
        files.setdefault(PurePosixPath(claim.test.split("::")[0]).name, []).append(claim)
    table = _table("file", "claims")
    for file, members in files.items():
        style = STYLES[standing(worst_first(members)[0])]
        table.add_row(Text(file), Text(verdict_sentence(members), style=style))
    return table


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
