"""What a run says in Markdown, for the summary page of a CI job: verdicts, what does not hold, what drifted.

GitHub's dialect. Whatever comes from data is escaped: it can neither end a table's row nor be a tag or a link.
"""

from __future__ import annotations

import re

from lib.judging.measurements import Claim, Session
from lib.judging.verdicts import (
    MARKS,
    NO_SUBJECT,
    NOT_HOLDING,
    WORDS,
    claims_about,
    in_words,
    narrowed_sentence,
    not_passed,
    precisions,
    standing,
    subject_names,
    verdict_sentence,
    why,
)
from lib.reports.drift_words import drift_list, drift_sentence

LISTED = 50  # lines a list: GitHub drops a summary of more than 1 MiB whole
SPECIAL = re.compile(r"([\\`*_{}\[\]()#+!|~@-])")


def render(session: Session) -> str:
    """The summary of a session, ending with a line break."""
    lines = ["## Circuit claims", ""]
    if session.ended:
        lines += [f"**The run ended early: {_text(session.ended)}.**", ""]
    if narrowed_sentence(session):
        lines += [f"**{_text(narrowed_sentence(session))}**", ""]
    for subject in subject_names(session):
        claims = claims_about(session, subject)
        lines += [f"**{_text(subject or NO_SUBJECT)}**: {_text(verdict_sentence(claims))}.", ""]
        lines += [f"{_text(line)}\n" for line in precisions(session, subject)]
        bad = [claim for claim in claims if standing(claim) in NOT_HOLDING]
        if bad:
            lines += ["| | claim | why |", "|---|---|---|", *map(_row, bad[:LISTED]), *_rest(len(bad)), ""]
    if session.drift:
        lines += [f"### Against {_text(session.drift.baseline)}", "", f"{_text(drift_sentence(session.drift))}.", ""]
        for heading, items in drift_list(session.drift):
            lines += [f"**{heading}**", "", *(f"- {_text(item)}" for item in items[:LISTED]), *_rest(len(items)), ""]
    if session.not_measured:
        lines += ["**Not measured**", "", *(f"- {_text(text)}" for text in session.not_measured), ""]
    if session.notes:
        lines += ["**Notes**", "", *(f"- {_text(text)}" for text in session.notes), ""]
    return "\n".join(lines) + "\n"


def _row(claim: Claim) -> str:
    figures = not_passed(claim) if claim.outcome == "failed" else []
    reasons = [f"{figure.label}: {in_words(figure)}" for figure in figures] or [why(claim)]
    return (
        f"| {MARKS[standing(claim)]} {WORDS[standing(claim)]} | {_text(claim.sentence)} | {_text('. '.join(reasons))} |"
    )


def _rest(count: int) -> list[str]:
    return ["", f"and {count - LISTED} more: see claims.html"] if count > LISTED else []


def _text(text: str) -> str:
    words = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return SPECIAL.sub(r"\\\1", words)
