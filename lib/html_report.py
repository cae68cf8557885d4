"""The claim report: what pytest-html 4.2 is given to show, as HTML text made from the records of a session.

For a reader who never runs the suite: one file, no script of ours, nothing loaded from elsewhere. What pytest-html does
with these strings (it inserts them as they are) is why everything that comes from data goes through `_text`.
Out of scope: the hooks, which are lib/pytest_plugin.py's.
"""

from __future__ import annotations

import base64
import re
from html import escape
from pathlib import Path

from lib.figures import PRINTED_SHARE, describe, head_map_svg
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
    sample,
    standing,
    subject_names,
    verdict_sentence,
    why,
)

LISTED_CLAIMS = 10  # claims that do not hold, named at the top; the table has them all
ROW_FIGURES = 4  # figures in a claim's row; an opened row shows them all
HASH_LENGTH = 12  # digits of the weights' hash that are shown; the rest is in the title attribute
BAR_WIDTH, BAR_HEIGHT = 150, 14  # pixels

GUIDE = """
<section class="claims-guide"><h2>How to read a verdict</h2>
<p>Every claim sets three numbers side by side. <b>Published</b>: what its authors report. <b>Accepted</b>: the band
this suite allows around it, with a reason. <b>Measured</b>: what this run found, with a 95% interval for what more
prompts of the same kind would give; the intervals are not widened for the number of claims.</p>
<dl>
<dt class="holds">✓ Passed</dt><dd>The whole interval lies inside the accepted band.</dd>
<dt class="fails">✗ Failed</dt>
<dd>The whole interval lies outside the band, or another condition of the claim is not met.</dd>
<dt class="inconclusive">? Inconclusive</dt>
<dd>The interval holds an end of the band: this run cannot tell. It counts as failed, and says about how many more
prompts would settle it.</dd>
<dt class="error">! Error</dt><dd>The claim could not be run: nothing is known about it.</dd>
</dl>
<p class="claims-legend">
<svg class="bar" width="120" height="14" aria-hidden="true"><rect class="band" x="10" width="90" height="14"/>
<path class="end" d="M10 0V14M100 0V14"/><path class="interval" d="M32 7H80"/><circle cx="56" cy="7" r="3.5"/></svg>
<span>In the bars the accepted band is shaded, the line is the interval, the dot the measured value. Click a row of the
table for its reasons, method and log.</span></p></section>
"""


def title(session: Session) -> str:
    """The report's title, plain text: pytest-html escapes it itself."""
    return f"Circuit claims: {', '.join(filter(None, subject_names(session))) or 'nothing was measured'}"


def summary(session: Session) -> list[str]:
    """Everything above the table of results, top down; the first fragment is the style sheet."""
    style = Path(__file__).with_name("report.css").read_text(encoding="utf-8")
    top = [f"<style>{style}</style>", _verdicts(session), _under_test(session), _head_maps(session)]
    return [*top, GUIDE, '<h2 class="claims-table-title">Every claim</h2>']


def header_cells() -> list[str]:
    """Headers of the columns after pytest-html's own Result, in the order of `row_cells`."""
    # pytest-html sorts a column as text and by its class name: `_sortable` gives such cells a hidden key.
    sortable = [("claim", "Claim"), ("subject", "Subject"), ("seconds", "Time")]
    plain = [("measured", "Measured"), ("accepted", "Accepted"), ("published", "Published")]
    cells = [f'<th class="sortable head-{name}" data-column-type="{name}">{label}</th>' for name, label in sortable]
    return cells + [f'<th class="head-{name}">{label}</th>' for name, label in plain]


def row_cells(claim: Claim) -> list[str]:
    """Cells of one claim after pytest-html's own Result. The last one spans measured, accepted and published."""
    figures = "".join(_figure(figure) for figure in figures_worst_first(claim)[:ROW_FIGURES])
    if len(claim.measurements) > ROW_FIGURES:
        more = f"and {len(claim.measurements) - ROW_FIGURES} more: click to see them"
        figures += f'<div class="figure-row"><span class="quiet">{more}</span></div>'
    nothing = '<div class="figure-row"><span class="quiet">no figure was measured</span></div>'
    sentence = (
        f'<span class="sentence">{_text(claim.sentence)}</span><span class="quiet test">{_text(claim.test)}</span>'
    )
    return [
        _sortable("claim", _natural(claim.sentence), sentence, standing(claim)),
        _sortable("subject", claim.subject, _text(claim.subject or NO_SUBJECT)),
        _sortable("seconds", f"{claim.seconds:012.3f}", f"{claim.seconds:.1f} s"),
        f'<td class="col-figures" colspan="3">{figures or nothing}</td>',
    ]


def detail(claim: Claim) -> str:
    """What an opened row shows above the log: why the claim does not hold, then how each figure came about."""
    name = standing(claim)
    parts = []
    if name != "holds":
        parts.append(
            f'<p class="why"><b class="{name}">{MARKS[name]} {WORDS[name].capitalize()}.</b> {_text(why(claim))}</p>'
        )
    for figure in figures_worst_first(claim):
        published = figure.published
        origin = "computed, not sampled" if figure.method == "exact" else f"{sample(figure)}, {figure.method}"
        rows = {
            "measured": f"{' '.join(measured(figure))}; {origin}",
            "accepted": f"{published.accept}, because: {published.why}",
            "published": f"{published.says} ({published.source}); measured there as: {published.how}",
            "reference": published.id,
        }
        if figure.example:
            rows = {"found in": figure.example, **rows}
        items = "".join(f"<dt>{_text(key)}</dt><dd>{_text(value)}</dd>" for key, value in rows.items())
        parts.append(f"<h4>{_verdict(figure)} {_text(figure.label)}</h4><dl>{items}</dl>")
    return f'<div class="claim-detail">{"".join(parts)}</div>' if parts else ""


def _verdicts(session: Session) -> str:
    lines = []
    for subject in subject_names(session):
        claims = claims_about(session, subject)
        worst = standing(claims[0]) if claims else "skipped"
        words = f"<span><b>{_text(subject or NO_SUBJECT)}</b>: {_text(verdict_sentence(claims))}.</span>"
        lines.append(f'<p class="verdict {worst}"><b class="mark">{MARKS[worst]}</b> {words}</p>')
        bad = [claim for claim in claims if standing(claim) in ("error", "fails", "inconclusive")]
        items = [f"<li>{_mark(standing(claim), WORDS[standing(claim)])}: {_text(claim.sentence)}</li>" for claim in bad]
        if len(items) > LISTED_CLAIMS:
            items[LISTED_CLAIMS:] = [f"<li>and {len(items) - LISTED_CLAIMS} more: see the table</li>"]
        lines.append(f'<ul class="verdict-list">{"".join(items)}</ul>' if bad else "")
    if not lines:
        lines.append('<p class="verdict skipped"><b class="mark">-</b> <span>No claim was run.</span></p>')
    if session.not_measured:
        items = "".join(f"<li>{_text(text)}</li>" for text in session.not_measured)
        lines.append(f'<aside class="not-measured"><h3>Not measured in this run</h3><ul>{items}</ul></aside>')
    return f'<section class="claims-verdicts">{"".join(lines)}</section>'


def _under_test(session: Session) -> str:
    rows = [
        ("Weights", [_code(subject.directory) for subject in session.subjects]),
        ("Hash of the weights", [_hash(subject.weights_hash) for subject in session.subjects]),
        ("Shape", [_text(subject.shape) for subject in session.subjects]),
        ("Device, dtype", [_text(f"{subject.device}, {subject.dtype}") for subject in session.subjects]),
        ("Prompts, seed", [_text(f"N = {subject.prompts}, seed {subject.seed}") for subject in session.subjects]),
        ("Prepended BOS", ["yes" if subject.prepend_bos else "no" for subject in session.subjects]),
    ]
    span = max(len(session.subjects), 1)
    whole = {
        "Versions": _text(", ".join(f"{name} {version}" for name, version in session.versions.items())),
        "Command": _code(session.command),
        "Started, took": _text(f"{session.started}, {session.seconds:.0f} s"),
    }
    head = "".join(f'<th scope="col">{_text(subject.name)}</th>' for subject in session.subjects)
    body = "".join(_table_row(label, "".join(f"<td>{cell}</td>" for cell in cells)) for label, cells in rows if cells)
    foot = "".join(_table_row(label, f'<td colspan="{span}">{cell}</td>') for label, cell in whole.items())
    table = f'<table><thead><tr><th scope="col">Model</th>{head}</tr></thead><tbody>{body}{foot}</tbody></table>'
    return f'<section class="claims-under-test"><h2>What was under test</h2>{table}</section>'


def _table_row(label: str, cells: str) -> str:
    return f'<tr><th scope="row">{label}</th>{cells}</tr>'


def _head_maps(session: Session) -> str:
    if not session.head_maps:
        return ""
    drawings, drawn = [], []
    for head_map in session.head_maps:
        what = (head_map.subject, head_map.title, head_map.unit, head_map.values)
        if what in drawn:  # each case of a parametrised claim records the map it read
            continue
        drawn.append(what)
        # As an image, a drawing cannot clash with the ids of the next one, and carries its own text alternative.
        data = base64.b64encode(head_map_svg(head_map).encode()).decode()
        drawings.append(f'<img alt="{_text(describe(head_map))}" src="data:image/svg+xml;base64,{data}">')
    words = f"Blue is positive, red negative. Numbers are printed from {PRINTED_SHARE:.0%} of a map's largest upwards."
    body = f'<p>{_text(words)}</p><div class="figures">{"".join(drawings)}</div>'
    return f'<section class="claims-figures"><h2>Figures</h2>{body}</section>'


def _figure(figure: Measurement) -> str:
    value, interval = measured(figure)
    published = figure.published
    numbers = f'<b>{_text(value)}</b> {_text(interval)} <span class="quiet n">{_text(sample(figure))}</span>'
    return (
        f'<div class="figure-row"><div><span class="label">{_text(figure.label)}</span>'
        f"<span>{numbers}</span>{_bar(figure)}</div>"
        f"<div>{_text(str(published.accept))}<br>{_verdict(figure)}</div>"
        f'<div>{_text(published.says)}<span class="quiet source">{_text(published.source)}</span></div></div>'
    )


def _bar(figure: Measurement) -> str:
    """The interval against the band, drawn to one scale; a band without an end runs off that side."""
    band = figure.published.accept
    ends = [end for end in (band.above, band.below) if end is not None]
    numbers = [figure.low, figure.value, figure.high, *ends]
    margin = 0.15 * (max(numbers) - min(numbers)) or 1.0
    start, stop = min(numbers) - margin, max(numbers) + margin

    def x(number: float) -> float:
        return round((number - start) / (stop - start) * BAR_WIDTH, 1)

    left = 0 if band.above is None else x(band.above)
    right = BAR_WIDTH if band.below is None else x(band.below)
    middle = BAR_HEIGHT / 2
    posts = "".join(f'<path class="end" d="M{x(end)} 0V{BAR_HEIGHT}"/>' for end in ends)
    return (
        f'<svg class="bar {VERDICT_STANDINGS[figure.verdict]}" width="{BAR_WIDTH}" height="{BAR_HEIGHT}"'
        ' aria-hidden="true">'
        f'<rect class="band" x="{left}" width="{max(right - left, 1):g}" height="{BAR_HEIGHT}"/>{posts}'
        f'<path class="interval" d="M{x(figure.low)} {middle}H{x(figure.high)}"/>'
        f'<circle cx="{x(figure.value)}" cy="{middle}" r="3.5"/></svg>'
    )


def _verdict(figure: Measurement) -> str:
    return _mark(VERDICT_STANDINGS[figure.verdict], VERDICT_WORDS[figure.verdict])


def _mark(name: str, words: str) -> str:
    return f'<span class="{name}">{MARKS[name]} {words}</span>'


def _sortable(column: str, key: str, content: str, more_classes: str = "") -> str:
    # pytest-html sorts by the text between the tags, line breaks excluded, so the key comes first and on one line.
    classes = f"col-{column} {more_classes}".strip()
    cell = f'<td class="{classes}"><span class="sort-key" hidden>{_text(key)}</span>{content}</td>'
    return " ".join(cell.splitlines())


def _natural(sentence: str) -> str:
    """A key that sorts "head 9.9" before "head 10.0"."""
    return re.sub(r"\d+", lambda digits: digits.group().zfill(4), sentence.lower())


def _hash(digits: str) -> str:
    return f'<code title="{_text(digits)}">{_text(digits[:HASH_LENGTH])}</code>'


def _code(text: str) -> str:
    return f"<code>{_text(text)}</code>"


def _text(text: str) -> str:
    return escape(text, quote=True)
