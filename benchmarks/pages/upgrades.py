"""Writes docs/evidence/UPGRADES.md: every figure of every claim, under every version of the hooking libraries.

`make upgrade-report` runs the claims (see noxfile.py) and then this. The first run of RUNS is what the others are
compared with, not what is right: which is right, the claims about instruments say. Which versions every claim held with
is also written to lib/models/backends/verified.json, by which a run says whether its own were.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from benchmarks.pages import evidence
from benchmarks.pages.evidence import ROOT
from lib.files import write_whole
from lib.judging.measurements import Session
from lib.models.backends import LIBRARIES, VERIFIED, Verified, in_words

NAME = "UPGRADES.md"
FOLDER = ROOT / "reports" / "upgrades"
RUNS = ("4.3.0-bridge", "4.3.0-plain", "3.5.1-bridge", "3.5.1-hooked", "2.18.0-hooked")
RUNS += ("newest-bridge", "0.8.1-nnsight", "0.5.0-nnsight")
AGREES = 1e-4  # what rounding in float32 is given: TransformerLens' documentation calls more suspicious
COLUMNS = ("run", "library", "torch", "transformers", "claims that hold", "figures")
COLUMNS += (f"apart by over {AGREES:g}", "largest")
# Why versions differ, by the claim that says where.
WHY = {
    "instruments: padding_on_the_left_gives_the_logits_that_padding_on_the_right_gives": "TransformerLens issue 1609: "
    "given tokens and a mask, the bridge of 3.5.1 counts positions from the padding on. Told the positions as well, it "
    "agrees to 4e-6. No other claim pads on the left, so no other figure is touched."
}

Figures = Mapping[tuple[str, str], float]  # (test, label) -> value


def read_runs(folder: Path = FOLDER) -> dict[str, Session]:
    """The kept run of each version and class. Raises FileNotFoundError where one is missing."""
    paths = {name: folder / name / "claims.json" for name in RUNS}
    return {name: Session.model_validate_json(path.read_text(encoding="utf-8")) for name, path in paths.items()}


def page(runs: Mapping[str, Session]) -> str:
    """The whole of UPGRADES.md."""
    base, *others = runs
    figures = {name: _figures(session) for name, session in runs.items()}
    gaps = {name: _gaps(figures[base], figures[name]) for name in others}
    apart = {key for name in others for key, gap in gaps[name].items() if gap > AGREES}
    missing = {name: figures[base].keys() ^ figures[name].keys() for name in others}
    apart |= figures[base].keys() & set().union(*missing.values())
    lines = [
        "# The same claims under every version of the hooking libraries",
        "",
        f"Verified together, every claim holding: {in_words(verified(runs))}. A run under other versions "
        "says that they were not.",
        "",
        "On the reference model, float32, CPU. `bridge` and `hooked` are "
        "TransformerLens' TransformerBridge and HookedTransformer, `nnsight` is nnsight on modules of transformers, "
        "`plain` is this suite's own forward pass; `newest` is what the package index had, pre-releases included. "
        f"Differences are from {base}; {AGREES:g} is taken for rounding.",
        "",
        *_table(
            COLUMNS,
            [_summary(name, runs[name], figures[name], gaps.get(name, {})) for name in runs],
        ),
        "",
        "## Where they do not agree",
        "",
        *(_rows(apart, figures, base, gaps) or [f"Nowhere: every figure of every run is within {AGREES:g}."]),
        *(
            f"\n{claim}: {WHY.get(claim, 'why is not known yet')}"
            for claim in sorted({_claim(test) for test, _ in apart})
        ),
        *(f"\n{name} lacks or adds {len(keys)} figures." for name, keys in missing.items() if keys),
        "",
        "## Every figure",
        "",
        *_rows(figures[base].keys(), figures, base, gaps),
    ]
    return "\n".join(lines) + "\n"


def verified(runs: Mapping[str, Session]) -> Verified:
    """By backend, the versions of its library and of transformers with which every claim held."""
    found: dict[str, list[list[str]]] = {}
    for name, session in runs.items():
        backend = name.rpartition("-")[2]
        held = all(claim.outcome == "passed" for claim in session.claims)
        if backend in LIBRARIES and held:
            pair = [session.versions[LIBRARIES[backend]], session.versions["transformers"]]
            found.setdefault(backend, []).append(pair)
    return {backend: sorted(map(list, {tuple(pair) for pair in pairs})) for backend, pairs in found.items()}


def _figures(session: Session) -> Figures:
    return {(figure.test, figure.label): figure.value for claim in session.claims for figure in claim.measurements}


def _gaps(base: Figures, other: Figures) -> Figures:
    return {key: abs(value - other[key]) for key, value in base.items() if key in other}


def _summary(name: str, session: Session, figures: Figures, gaps: Figures) -> tuple[str, ...]:
    held = sum(claim.outcome == "passed" for claim in session.claims)
    largest = max(gaps, key=lambda key: gaps[key]) if gaps else None
    library = LIBRARIES.get(name.rpartition("-")[2])
    return (
        name,
        f"{library} {session.versions[library]}" if library else "none",
        session.versions["torch"],
        session.versions["transformers"],
        f"{held} of {len(session.claims)}",
        str(len(figures)),
        str(sum(gap > AGREES for gap in gaps.values())) if gaps else "",
        _largest(largest[0], gaps[largest]) if largest else "",
    )


def _largest(test: str, gap: float) -> str:
    return f"{gap:.1e}, {_claim(test)}" if gap else "none: the same bit for bit"


def _rows(keys: set | Mapping, figures: Mapping[str, Figures], base: str, gaps: Mapping[str, Figures]) -> list[str]:
    rows = [
        (
            _claim(test),
            label,
            f"{value:.5g}",
            *(f"{gap[test, label]:.1e}" if (test, label) in gap else "absent" for gap in gaps.values()),
        )
        for (test, label), value in figures[base].items()
        if (test, label) in keys
    ]
    return _table(("claim", "figure", base, *gaps), rows) if rows else []


def _claim(test: str) -> str:
    """A test's id without file's folder and subject: test_name_movers.py every_name_mover_copies[9.9]."""
    path, _, name = test.partition("::")
    return f"{Path(path).stem.removeprefix('test_')}: {name.removeprefix('test_').replace('[planted]', '')}".replace(
        "[planted-", "["
    )


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    lines = [head, ("---",) * len(head), *rows]
    return [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines]


if __name__ == "__main__":
    runs = read_runs()
    write_whole(VERIFIED, json.dumps(verified(runs)) + "\n")
    evidence.write(NAME, page(runs), command="make upgrade-report", session=runs[RUNS[0]])
