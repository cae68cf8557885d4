"""What a run says in the terminal: per subject one line a claim file, and every claim that does not hold, explained.

Plain text first: no meaning hangs on colour, and everything fits 80 columns. Where all claims hold it stays short.
"""

from __future__ import annotations

from pathlib import PurePosixPath

from rich.console import Console, Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from lib.measurements import Claim, Measurement, Session
from lib.verdicts import (
    MARKS,
    NO_SUBJECT,
    VERDICT_STANDINGS,
    VERDICT_WORDS,
    WORDS,
    claims_about,
    figures_worst_first,
    measured,
    not_passed,
    standing,
    subject_names,
    verdict_sentence,
    why,
    worst_first,
)

STYLES = {"holds": "green", "fails": "bold red", "inconclusive": "yellow", "error": "bold red", "skipped": "dim"}


def render(session: Session, console: Console, *, every_measurement: bool = False) -> None:
    """Print a session to `console`. `every_measurement` lists the figures of claims that hold as well."""
    for subject in subject_names(session):
        claims = claims_about(session, subject)
        console.print()
        console.print(Text(f"{subject or NO_SUBJECT}: {verdict_sentence(claims)}", style="bold"))
        for claim in claims:
            if standing(claim) in ("error", "fails", "inconclusive"):
                console.print(_explained(claim))
        figures = [figure for claim in claims for figure in _listed(claim, every_measurement)]
        if figures:
            console.print()
            console.print(_figures(figures))
        if claims:
            console.print()
            console.print(_files(claims))
    if session.not_measured:
        console.print()
        console.print(Text("Not measured:", style="bold"))
        for text in session.not_measured:
            console.print(Padding(Text(text), (0, 0, 0, 2), expand=False))


def _explained(claim: Claim) -> Group:
    name = standing(claim)
    headline = Text(f"{MARKS[name]} {claim.sentence} ({WORDS[name]})", style=STYLES[name])
    place = Text(claim.test, style="dim", overflow="fold")
    return Group(headline, *(Padding(text, (0, 0, 0, 4), expand=False) for text in (Text(why(claim)), place)))


def _listed(claim: Claim, every_measurement: bool) -> list[Measurement]:
    if every_measurement:
        return figures_worst_first(claim)
    return not_passed(claim) if claim.outcome == "failed" else []


def _figures(figures: list[Measurement]) -> Table:
    table = _table("figure", "measured", "accepted", "published", "verdict")
    for figure in figures:
        verdict = Text(VERDICT_WORDS[figure.verdict], style=STYLES[VERDICT_STANDINGS[figure.verdict]])
        accepted, published = str(figure.published.accept), figure.published.says
        words = (figure.label, " ".join(measured(figure)), accepted, published)
        table.add_row(*map(Text, words), verdict)
    return table


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
