"""The claim report: HTML from the records of a session, for a reader who never runs the suite.

Self-contained: style, script and plotly are in it, the last packed until the first drawing is opened. jinja2 escapes
whatever the records hold; what stands in figures is escaped in figures.py, because plotly reads its labels as markup.
At the end of a run the plugin hands the body to pytest-html; a kept run is rendered again by render.py, as a page whose
Content-Security-Policy lets nothing but its own scripts run or load.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import re
import shlex
from collections import Counter
from functools import cache
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import jinja2
from markupsafe import Markup, escape

from lib.judging import verdicts
from lib.judging.drawings import Drawing, Table
from lib.judging.measurements import Claim, Measurement, Mutant, Session
from lib.judging.references import origin
from lib.judging.verdicts import ORDER, VERDICT_STANDINGS, Standing, standing
from lib.reports import drift_page, figures

SQUEEZED = 5  # gzip's level for plotly: half of 9's time, for one percent more
STRIP_WIDTH = 240  # pixels
STRIP_MARGIN = 0.12  # of what is drawn, left free on either side


def templates(folder: Path) -> jinja2.Environment:
    """Templates of pages in a folder: what they show is escaped, and what they lack is an error."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


TEMPLATES = templates(Path(__file__).parent)


class Strip(NamedTuple):
    """A figure on one scale, in pixels from the left; a band without an end runs off that side."""

    band: tuple[float, float]
    ends: list[float]
    published: list[float]
    low: float
    value: float
    high: float


class Family(NamedTuple):
    """Claims of one file, in the order they ran."""

    file: str
    heading: str
    claims: list[Claim]
    counts: dict[str, int]  # by standing

    @property
    def names(self) -> set[str]:
        """Of its claims, whatever they are asked of."""
        return set(map(verdicts.of_any_subject, self.claims))


class Page(NamedTuple):
    """What one page shows."""

    session: Session
    subjects: list[str]
    families: list[Family]
    states: list[Standing]  # the standings that occur, best first
    shown: dict[str, list[tuple[int, Drawing]]]  # by claim, its drawings and their places in `data`
    data: list[dict]  # plotly's figures, each once
    script: Markup
    packed: str  # plotly.js; empty where nothing is plotted
    fails_on: dict[str, list[Mutant]]  # by claim


def page(session: Session) -> str:
    """A whole page that stands alone."""
    return TEMPLATES.get_template("report_page.html.jinja").render(
        title=title(session),
        style=style(),
        body=body(session),
        policy=_policy([_beside("report.js"), *([plotly()] if _is_plotted(session) else [])]),
    )


def title(session: Session) -> str:
    """The heading, as plain text."""
    return f"Circuit claims: {', '.join(filter(None, verdicts.subject_names(session))) or 'nothing was measured'}"


def style() -> Markup:
    """The style sheet: for the page around the body, and for what pytest-html adds to it."""
    return Markup(_beside("report.css"))


def body(session: Session) -> Markup:
    """Everything between a page's heading and its end, scripts included."""
    drawn: dict[str, int] = {}  # each drawing once, although every case of a parametrised claim may show it
    shown: dict[str, list[tuple]] = {}
    data = []
    for one in session.drawings:
        key = f"{one.subject} {one.drawing.model_dump_json()}"
        if key not in drawn:
            drawn[key] = len(data)
            data.append(figures.figure(one.drawing))
        shown.setdefault(one.test, []).append((drawn[key], one.drawing))
    grouped = families(session)
    shows = Page(
        session=session,
        subjects=verdicts.subject_names(session),
        families=grouped,
        states=[state for state in reversed(ORDER) if any(family.counts[state] for family in grouped)],
        shown=shown,
        data=data,
        script=Markup(_beside("report.js")),
        packed=packed(plotly()) if _is_plotted(session) else "",
        fails_on=fails_on(session),
    )
    return Markup(TEMPLATES.get_template("report.html.jinja").render(page=shows))


def families(session: Session) -> list[Family]:
    """Claims by file: those that the session names in its order, then others under their file's name."""
    files: dict[str, list[Claim]] = {name: [] for name in session.families}
    for claim in session.claims:
        files.setdefault(verdicts.file_of(claim), []).append(claim)
    return [
        Family(name, session.families.get(name, name), claims, Counter(map(standing, claims)))
        for name, claims in files.items()
        if claims
    ]


def fails_on(session: Session) -> dict[str, list[Mutant]]:
    """For each claim of the session, by its test, the broken models that it has been seen to fail on."""
    names = {claim.test: verdicts.of_any_subject(claim) for claim in session.claims}
    return {test: [mutant for mutant in session.mutants if name in mutant.kills] for test, name in names.items()}


def address(claim: Claim) -> str:
    """Where a claim is on the page, and on that of any other run: planted/name_movers/every_name_mover_copies[9.9]."""
    file, _, name = verdicts.of_any_subject(claim).partition("::")
    family = file.removeprefix("test_").removesuffix(".py")
    return "_".join(f"{claim.subject}/{family}/{name.removeprefix('test_')}".split())


def link_to(claim: Claim) -> str:
    """A link to it on its own page."""
    return f"#{quote(address(claim), safe='/[]:,+=()|')}"


def command(session: Session, claim: Claim) -> str:
    """What asks this one claim again."""
    return f"pytest {shlex.quote(claim.test)} {session.rerun}".strip()


def strip(figure: Measurement) -> Strip:
    """Band, published values and measured interval of a figure on one scale that holds them all."""
    band, published = figure.published.accept, figure.published.value
    ends = [end for end in (band.above, band.below) if end is not None]
    numbers = [figure.low, figure.value, figure.high, *ends, *published]
    margin = STRIP_MARGIN * (max(numbers) - min(numbers)) or 1.0
    start, stop = min(numbers) - margin, max(numbers) + margin

    def x(number: float) -> float:
        return round((number - start) / (stop - start) * STRIP_WIDTH, 1)

    left = 0.0 if band.above is None else x(band.above)
    right = float(STRIP_WIDTH) if band.below is None else x(band.below)
    places = [x(number) for number in published]
    return Strip((left, right), [x(end) for end in ends], places, x(figure.low), x(figure.value), x(figure.high))


def linked(source: str, addresses: dict[str, str]) -> Markup:
    """A source with each publication it names as a link. Longer names win over names within them."""
    names = sorted((name for name, to in addresses.items() if to.startswith("https://")), key=len, reverse=True)
    parts = re.split(f"({'|'.join(map(re.escape, names))})", source) if names else [source]
    link = Markup('<a href="{}">{}</a>')
    return Markup("").join(link.format(addresses[part], part) if part in addresses else escape(part) for part in parts)


def with_words(sentence: str, glossary: dict[str, str]) -> Markup:
    """A sentence, each word of the glossary in it a link to what it means, where it is said first."""
    if not glossary:
        return escape(sentence)
    known = "|".join(map(re.escape, sorted(glossary, key=len, reverse=True)))
    parts, linked_already = [], set()
    for part in re.split(rf"(?<![\w+-])({known})(?=s?(?![\w+-]))", sentence):
        if part in glossary and part not in linked_already:
            linked_already.add(part)
            parts.append(Markup('<a class="word" href="#{}">{}</a>').format(word_address(part), part))
        else:
            parts.append(escape(part))
    return Markup("").join(parts)


def word_address(word: str) -> str:
    """Where a word of the glossary stands on the page."""
    return f"word-{word.replace(' ', '-')}"


def changed(session: Session) -> Markup:
    """What changed since the baseline, as a section of its own; empty where this run was compared with none."""
    return Markup(drift_page.section(session.drift)) if session.drift else Markup("")  # escaped there


@cache
def plotly() -> str:
    """plotly.js as the installed package ships it."""
    from plotly.offline import get_plotlyjs  # takes a moment: only a page with figures should pay it

    return get_plotlyjs()


@cache
def packed(script: str) -> str:
    """A script, compressed and in base64: a third of its size, and nothing that a browser would read at once."""
    return base64.b64encode(gzip.compress(script.encode(), SQUEEZED, mtime=0)).decode()


def _is_plotted(session: Session) -> bool:
    return any(not isinstance(one.drawing, Table) for one in session.drawings)


def _policy(scripts: list[str]) -> str:
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{digest}'" for digest in hashes) or "'none'"
    return f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src {allowed}"


def _beside(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


# What every page says the same way: the template's own words and functions.
TEMPLATES.globals.update(
    {f.__name__: f for f in (standing, strip, linked, changed, origin, address, link_to, command, with_words)},
    **{f.__name__: f for f in (word_address, verdicts.claims_about, verdicts.verdict_sentence, verdicts.by_cause)},
    **{f.__name__: f for f in (verdicts.figures_worst_first, verdicts.measured, verdicts.sample, verdicts.why)},
    **{f.__name__: f for f in (verdicts.is_control, verdicts.narrowed_sentence, verdicts.not_holding)},
    describe=figures.describe,
    is_table=lambda drawing: isinstance(drawing, Table),
    marks=verdicts.MARKS,
    words=verdicts.WORDS,
    verdict_words=verdicts.VERDICT_WORDS,
    verdict_standings=VERDICT_STANDINGS,
    no_subject=verdicts.NO_SUBJECT,
    strip_width=STRIP_WIDTH,
)
