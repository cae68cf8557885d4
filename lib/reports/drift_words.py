"""The words every renderer uses for a comparison with an earlier run: pure functions of its record."""

from __future__ import annotations

import re

from lib.judging.measurements import NOT_COMPARED, Change, Comparison
from lib.judging.pairing import SUBJECT

WEIGHTS = ": weights hash"  # how the name of a setting ends that says which weights a subject has
HASH = 8  # digits that tell two hashes apart
RULES = {
    "rounding": "the same weights and prompts, or computed and not sampled: only rounding may differ",
    "paired": "same prompts, paired",
    "unpaired": "other prompts: the two intervals",
    "not comparable": "computed on other prompts: not compared",
    "band alone": "what rounding itself does: judged by its band, not compared",
}


def drift_sentence(comparison: Comparison) -> str:
    """One sentence: "3 of 156 figures drifted, 1 claim came out differently (step1000 compared with step2000)"."""
    moved = sum(change.drifted for change in comparison.changes)
    parts = [f"{moved} of {len(comparison.compared)} figures drifted" if moved else ""]
    for count, one, many in (
        (len(comparison.flips), "claim came out differently", "claims came out differently"),
        (len(comparison.appeared), "is not in the baseline", "are not in the baseline"),
        (len(comparison.vanished), "is in the baseline alone", "are in the baseline alone"),
    ):
        parts.append(f"{count} {one if count == 1 else many}" if count else "")
    said = ", ".join(filter(None, parts)) or f"none of {len(comparison.compared)} figures drifted{_weights(comparison)}"
    pairs = [f" ({one.old} compared with {one.new})" for one in comparison.environment if one.name == SUBJECT]
    return said + "".join(pairs)


def _weights(comparison: Comparison) -> str:
    """What a sentence that says nothing drifted must not leave out: ", though the weights of planted changed: ..."."""
    changed = [
        f"the weights of {one.name.removesuffix(WEIGHTS)} changed: {one.old[:HASH]} -> {one.new[:HASH]}"
        for one in comparison.environment
        if one.name.endswith(WEIGHTS)
    ]
    return f", though {' and '.join(changed)}" if changed else ""


def _shown(value: str) -> str:
    """A value, a hash no longer than a reader compares."""
    return value[:12] if re.fullmatch("[0-9a-f]{64}", value) else value


def largest_first(comparison: Comparison) -> list[Change]:
    """Changes that drifted, then those that might have, each by how much of what is allowed they use; then the rest."""

    def place(change: Change) -> tuple[bool, bool, float]:
        return not change.drifted, change.rule in NOT_COMPARED, -abs(change.difference) / change.allowed

    return sorted(comparison.changes, key=place)


def moved(change: Change) -> str:
    """How far a figure moved and how far it may, in words."""
    by_prompt = change.rule == "rounding" and change.difference != change.new - change.old
    where = "on the prompt that moved most" if by_prompt else ""
    difference = " ".join(filter(None, (f"{change.difference:+.3g}", where)))
    return f"{change.old:.6g} -> {change.new:.6g} ({difference}; allowed {change.allowed:.2g}, {RULES[change.rule]})"


def drift_list(comparison: Comparison) -> list[tuple[str, list[str]]]:
    """Headings with what stands under them, without empty ones: what drifted first, then what was different around."""
    drifted = [
        f"{change.label}: {moved(change)} {change.test}" for change in largest_first(comparison) if change.drifted
    ]
    sections = [
        ("Drifted", drifted),
        (
            "Came out differently",
            [f"{flip.sentence} {flip.old} -> {flip.new} {flip.test}" for flip in comparison.flips],
        ),
        ("Not in the baseline", comparison.appeared),
        ("In the baseline alone", comparison.vanished),
        (
            "Different around it",
            [f"{one.name}: {_shown(one.old)} -> {_shown(one.new)}" for one in comparison.environment],
        ),
        ("Note", comparison.notes),
    ]
    return [(heading, lines) for heading, lines in sections if lines]
