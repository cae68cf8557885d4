"""A comparison of two runs as HTML: the section that the claim report shows, and a page of its own.

One file, no script, nothing loaded from elsewhere. Whatever comes from data goes through `_text`.
"""

from __future__ import annotations

from html import escape

from lib.judging.measurements import Change, Comparison
from lib.reports.drift_words import RULES, drift_list, drift_sentence, largest_first

STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; vertical-align: top; padding: .25rem .75rem .25rem 0; border-bottom: 1px solid #8886; }
li, td { overflow-wrap: anywhere; }
.drifted { font-weight: bold; }
"""
HEAD = ("figure", "then", "now", "difference", "allowed", "because")


def section(comparison: Comparison) -> str:
    """What drifted and what was different, under a heading."""
    mark = "✗" if comparison.drifted else "✓"
    parts = [f"<h2>{mark} Against the baseline: {_text(drift_sentence(comparison))}</h2>"]
    parts.append(f"<p>Compared with {_text(comparison.baseline)}, a run of {_text(comparison.started)}.</p>")
    for heading, lines in drift_list(comparison):
        parts.append(f"<h3>{heading}</h3><ul>{''.join(f'<li>{_text(line)}</li>' for line in lines)}</ul>")
    return f'<section class="claims-drift">{"".join(parts)}</section>'


def page(comparison: Comparison, *, title: str) -> str:
    """A whole page: the section, then every figure of both runs, those that moved most first."""
    head = "".join(f'<th scope="col">{name}</th>' for name in HEAD)
    rows = "".join(map(_row, largest_first(comparison)))
    table = f"<h2>Every figure</h2><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{_text(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head>'
        f"<body><h1>{_text(title)}</h1>{section(comparison)}{table}</body></html>\n"
    )


def _row(change: Change) -> str:
    numbers = (f"{change.old:.6g}", f"{change.new:.6g}", f"{change.difference:+.3g}", f"{change.allowed:.2g}")
    cells = (f"{change.subject}: {change.label}", *numbers, RULES[change.rule])
    mark = ' class="drifted"' if change.drifted else ""
    return f"<tr{mark}>{''.join(f'<td>{_text(cell)}</td>' for cell in cells)}</tr>"


def _text(text: str) -> str:
    return escape(text, quote=True)
