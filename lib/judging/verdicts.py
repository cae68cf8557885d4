"""The words every renderer uses: how a claim stands, why it does not hold, and how a figure is printed.

Pure functions of the records in lib/judging/measurements.py. Layout and colour are the renderers' own business.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Literal

from lib.judging.measurements import Claim, Measurement, Session
from lib.judging.references import origin

Standing = Literal["holds", "fails", "inconclusive", "error", "skipped"]

# What a reader must see first comes first.
ORDER: tuple[Standing, ...] = ("error", "fails", "inconclusive", "skipped", "holds")
MARKS = {"holds": "✓", "fails": "✗", "inconclusive": "?", "error": "!", "skipped": "-"}
WORDS = {
    "holds": "holds",
    "fails": "fails",
    "inconclusive": "inconclusive",
    "error": "could not run",
    "skipped": "skipped",
}
VERDICT_STANDINGS: dict[str, Standing] = {"pass": "holds", "fail": "fails", "inconclusive": "inconclusive"}
VERDICT_WORDS = {"pass": "inside", "fail": "outside", "inconclusive": "inconclusive"}
NOT_HOLDING: tuple[Standing, ...] = ("error", "fails", "inconclusive")
CONTROL = "Control:"  # how the sentence of one begins
WHOLE_RUNS = ("", "-m gpu")  # selections that leave no claim out
SHARED_BY = 3  # claims, from which on a reason that they share is told once
NO_SUBJECT = "no subject"  # printed for a claim whose file did not even load
LEAST_DECIMALS, MOST_DECIMALS = 2, 6


def standing(claim: Claim) -> Standing:
    """How a claim came out. Inconclusive: it failed, no figure is outside its band, one holds an end of its band; or it
    was not decided, since nothing could have done so or the run was stopped."""
    if claim.outcome == "failed":
        verdicts = {figure.verdict for figure in claim.measurements}
        return "inconclusive" if "inconclusive" in verdicts and "fail" not in verdicts else "fails"
    return "holds" if claim.outcome == "passed" else claim.outcome


def of_any_subject(one: Claim | Measurement) -> str:
    """A claim's name, whatever it is asked of: test_name_movers.py::test_every_name_mover_copies[9.9]."""
    file, colons, test = asked_of(one.test, one.subject, "").partition("::")  # a parameter may hold a slash
    return f"{file.rpartition('/')[2]}{colons}{test}"


def asked_of(test: str, subject: str, other: str) -> str:
    """pytest's id of the same claim about another subject, or about none. The subject is the first parameter, or the
    last one of a claim that is asked of every thing a file states; in an id all but ASCII is escaped."""
    was, now = (name.encode("unicode_escape").decode() for name in (subject, other))
    name, _, asked = test.partition("[")
    asked = asked.removesuffix("]")
    if asked == was:
        asked = now
    elif asked.startswith(f"{was}-"):
        asked = f"{now}{'-' if now else ''}{asked.removeprefix(f'{was}-')}"
    elif asked.endswith(f"-{was}"):
        asked = f"{asked.removesuffix(f'-{was}')}{'-' if now else ''}{now}"
    return f"{name}[{asked}]" if asked else name


def worst_first(claims: list[Claim]) -> list[Claim]:
    """Claims in ORDER, otherwise as they came."""
    return sorted(claims, key=lambda claim: ORDER.index(standing(claim)))


def figures_worst_first(claim: Claim) -> list[Measurement]:
    """A claim's figures: outside their band, then inconclusive, then inside."""
    return sorted(claim.measurements, key=lambda figure: ORDER.index(VERDICT_STANDINGS[figure.verdict]))


def not_passed(claim: Claim) -> list[Measurement]:
    """The figures that are not inside their band, worst first."""
    return [figure for figure in figures_worst_first(claim) if figure.verdict != "pass"]


def why(claim: Claim) -> str:
    """Why a claim does not hold, as one sentence, and what was found instead; empty where it does."""
    reason = _why(claim)
    return f"{reason.rstrip('.')}. Instead: {claim.instead}" if reason and claim.instead else reason


def _why(claim: Claim) -> str:
    if claim.outcome == "passed":
        return ""
    if claim.outcome == "failed":
        figures = not_passed(claim)
        if figures:
            more = f" (and {len(figures) - 1} more like it)" if len(figures) > 1 else ""
            return f"{figures[0].label}: {figures[0].explanation}{more}"
    if claim.outcome == "inconclusive" and not_passed(claim):
        figures = [f"{figure.label} {' '.join(measured(figure))}" for figure in not_passed(claim)]
        return f"{claim.reason} ({', '.join(figures)})"
    return next(iter(claim.reason.strip().splitlines()), "no reason was given")


def subject_names(session: Session) -> list[str]:
    """Names of the subjects described, then of those that only a claim mentions: "" for a file that did not load."""
    return list(dict.fromkeys([s.name for s in session.subjects] + [claim.subject for claim in session.claims]))


def claims_about(session: Session, subject: str) -> list[Claim]:
    """Claims about one subject, worst first."""
    return worst_first([claim for claim in session.claims if claim.subject == subject])


def precisions(session: Session, subject: str) -> list[str]:
    """Which precision was really there, where a subject was asked to compute in float64: one line, or none."""
    return [f"{one.dtype}: {one.precision}" for one in session.subjects if one.name == subject and one.precision]


def is_control(claim: Claim) -> bool:
    """Whether it says what must not be found, or what tells a finding from nothing."""
    return claim.sentence.startswith(CONTROL)


def narrowed_sentence(session: Session) -> str:
    """That only some of the claims were asked, and how they were chosen, as typed; empty where all were."""
    if session.selection in WHOLE_RUNS:
        return ""
    return f"Only a part was asked: {session.selection} left out all other claims."


def in_reading_order(session: Session, claims: list[Claim]) -> list[Claim]:
    """Claims family by family, as the session orders them, those of other files after them."""
    place = {name: i for i, name in enumerate(session.families)}
    return sorted(claims, key=lambda claim: place.get(file_of(claim), len(place)))


def file_of(claim: Claim) -> str:
    """The name of the file that a claim stands in."""
    return claim.test.partition("::")[0].rpartition("/")[2]


def not_holding(session: Session, subject: str) -> list[Claim]:
    """Claims about one subject that do not hold, worst first, and otherwise family by family."""
    claims = in_reading_order(session, claims_about(session, subject))
    return worst_first([claim for claim in claims if standing(claim) in NOT_HOLDING])


def by_cause(claims: list[Claim]) -> tuple[list[tuple[str, list[Claim]]], list[Claim]]:
    """Of claims that do not hold: reasons that several have in common, word for word, with those claims, what most have
    first; and the claims with reasons of their own."""
    by_reason: dict[str, list[Claim]] = {}
    for claim in claims:
        by_reason.setdefault(why(claim), []).append(claim)
    shared = [(reason, members) for reason, members in by_reason.items() if len(members) >= SHARED_BY]
    others = [claim for claim in claims if len(by_reason[why(claim)]) < SHARED_BY]
    return sorted(shared, key=lambda pair: -len(pair[1])), others


def verdict_sentence(claims: list[Claim]) -> str:
    """One sentence, controls apart: "41 of 43 claims hold, 1 fails, 1 is inconclusive; 5 of 5 controls hold"."""
    if not claims:
        return "no claim was run"
    controls = [claim for claim in claims if is_control(claim)]
    others = [claim for claim in claims if not is_control(claim)]
    kinds = {"claim": others, "control": controls}
    return "; ".join(_counted(of_kind, name) for name, of_kind in kinds.items() if of_kind)


def _counted(claims: list[Claim], name: str) -> str:
    counts = Counter(standing(claim) for claim in claims)
    parts = [f"{counts['holds']} of {len(claims)} {f'{name} holds' if len(claims) == 1 else f'{name}s hold'}"]
    for name, one, many in (
        ("fails", "fails", "fail"),
        ("inconclusive", "is inconclusive", "are inconclusive"),
        ("error", "could not be run", "could not be run"),
        ("skipped", "was skipped", "were skipped"),
    ):
        if counts[name]:
            parts.append(f"{counts[name]} {one if counts[name] == 1 else many}")
    return ", ".join(parts)


def measured(figure: Measurement) -> tuple[str, str]:
    """The value and its 95% interval as text; the interval is "exact" or "no spread" where it has no width.

    Printed are two digits of the interval's width, and enough to tell its ends from those of the band: a figure that
    misses its band by 0.0004 must not be printed as the edge it missed.
    """
    edges = [edge for edge in (figure.published.accept.above, figure.published.accept.below) if edge is not None]
    gaps = [abs(end - edge) for end in (figure.low, figure.high) for edge in edges]
    finest = [(figure.high - figure.low) / 10, *gaps]
    decimals = [math.ceil(-math.log10(size)) for size in finest if size > 0]
    decimals = min(max([LEAST_DECIMALS, *decimals]), MOST_DECIMALS)
    numbers = (figure.value, figure.low, figure.high)
    vanishes = all(abs(number) < 10**-decimals for number in numbers) and any(numbers)
    form = ".3g" if vanishes or max(map(abs, numbers)) >= 1e6 else f".{decimals}f"
    if figure.low == figure.high:
        return f"{figure.value:{form}}", "exact" if figure.method == "exact" else "no spread"
    return f"{figure.value:{form}}", f"[{figure.low:{form}}, {figure.high:{form}}]"


def sample(figure: Measurement) -> str:
    """The sample size as text; empty for what was computed, not sampled."""
    return "" if figure.method == "exact" else f"N = {figure.n}"


def in_words(figure: Measurement) -> str:
    """A figure as one line of plain text: measured, accepted, verdict, published."""
    published = figure.published
    parts = (" ".join(measured(figure)), sample(figure), f"accepted: {published.accept}")
    parts += (VERDICT_WORDS[figure.verdict], f"{origin(published.source)}: {published.says} ({published.source})")
    return "; ".join(filter(None, parts))
