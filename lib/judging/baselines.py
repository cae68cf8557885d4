"""Compares a run with an earlier one: what moved further than it may, and what was different around it.

Three rules, the sharpest that applies to a figure:

- rounding: same weights, prompts and number type. The run is deterministic, so another library, device or processor may
  change what each single prompt says by rounding alone, and a mean that stayed where it was excuses nothing. Nor may
  the ends of an interval move further, since intervals decide verdicts.
- paired: same prompts, something else differs (the weights, say). The figure drifted where the mean of the differences
  prompt by prompt lies further from zero than their spread over prompts allows.
- unpaired: other prompts. The two intervals have to explain the difference.

What was computed and not sampled is held to rounding; where it was computed on other prompts it is not compared, and
the comparison says so. Nor is what rounding itself does, such as how far a figure is from float64's: another processor
adds up in another order, so its band judges it and a kept value does not. The rules paired and unpaired share one error
rate among all figures they judge (Bonferroni), so that one comparison in twenty, not one figure in twenty, is a false
alarm.

Out of scope: whether a figure lies in its band (references.py), which subjects are compared (pairing.py), and how
claims came out (flips.py).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from pydantic import ValidationError
from scipy import stats

from lib.judging.flips import flips
from lib.judging.measurements import (
    NOT_COMPARED,
    READABLE,
    SCHEMA_VERSION,
    Change,
    Comparison,
    Flip,
    Measurement,
    Rule,
    Session,
    Setting,
    Subject,
)
from lib.judging.pairing import on_other_prompts, paired, under_the_names_of
from lib.judging.statistics import CONFIDENCE, confidence
from lib.judging.verdicts import standing

# How far rounding alone may move a number x: this times (1 + |x|). Measured in float32 on the reference model, with
# other instructions and with products added up in other orders (docs/evidence/MACHINES.md): a prompt moved by up to
# 1.4e-5 (1 + |x|), of which this is five times. An exact GELU in place of its approximation moves prompts by 9e-5
# (1 + |x|), a LayerNorm epsilon of 1e-6 in place of 1e-5 by 2e-4. In float64 they moved by 2.5e-15; in bfloat16 by
# .033, 4.2 of its steps at 1, so 22 are allowed, and as many to float16.
ROUNDING = {"float64": 1e-9, "float32": 7.5e-5, "bfloat16": 22 * 2**-7, "float16": 22 * 2**-10}
# What besides the prompts makes a run come out the same; and what a reader is told when it differs.
DETERMINES = ("weights_hash", "dtype", "prepend_bos", "processing")
AROUND = ("weights_hash", "shape", "device", "dtype", "processing", "prepend_bos", "prompts", "seed", "prompts_hash")
Key = tuple[str, str, str, int]  # subject, test, label, and which of its equals where a test uses a label again


class BaselineError(ValueError):
    """A file that cannot serve as a baseline; the message names it and says what to do."""


def read_session(path: Path) -> Session:
    """The run kept in a file. Raises BaselineError, and FileNotFoundError where there is none."""
    remedy = "write it anew with --claims-update-baseline, or name another file"
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise
    except (OSError, UnicodeDecodeError) as error:
        raise BaselineError(f"{path} cannot be read ({error}): {remedy}") from error
    version = _version(text)
    if version > SCHEMA_VERSION:
        raise BaselineError(
            f"{path} has schema {version}, written by a newer version of this suite than this one, which reads up to "
            f"{SCHEMA_VERSION}: update the suite, or name another file"
        )
    if version and version not in READABLE:
        raise BaselineError(f"{path} has schema {version}, and this suite reads {READABLE[0]} and later: {remedy}")
    try:
        return Session.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise BaselineError(f"{path} is not a claims.json of this suite ({where}: {first['msg']}): {remedy}") from error


def as_baseline(session: Session) -> Session:
    """What is kept of a run: everything but its figures and its own comparison."""
    return session.model_copy(update={"drawings": [], "drift": None})


def compare(old: Session, new: Session, *, name: str) -> Comparison:
    """`new` against `old`, which was read from `name`. Where only a selection was run, only that is compared, and where
    the run was stopped, only what it decided. All of it bears the names of `new`."""
    pair = paired(old, new)
    old = under_the_names_of(new, old)
    if new.ended:
        decided = [claim for claim in new.claims if claim.outcome != "inconclusive"]
        new = new.model_copy(update={"claims": decided})
    before, after = _figures(old), _figures(new)
    both = [key for key in after if key in before]
    then, now = ({one.name: one for one in session.subjects} for session in (old, new))
    rules = {key: _rule(before[key], after[key], then.get(key[0]), now.get(key[0])) for key in both}
    judged_by_noise = sum(rule in ("paired", "unpaired") for rule in rules.values())
    error = (1 - CONFIDENCE) / max(judged_by_noise, 1)
    arms = [float(stats.norm.ppf((1 + confidence(max(len(session.looks), 1))) / 2)) for session in (old, new)]
    same_looks = len(old.looks) == len(new.looks)  # and so intervals of the same confidence
    changes = []
    for key in both:
        rounding = _rounding(then.get(key[0]), now.get(key[0]))
        change = _change(before[key], after[key], rules[key], error, rounding, arms)
        end = _end_that_moved(before[key], after[key], change) if same_looks and rules[key] == "rounding" else None
        changes.append(end or change)
    drift, explained = flips(old, new)
    return Comparison(
        baseline=name,
        started=old.started,
        changes=changes,
        flips=drift,
        appeared=_appeared(old, new),
        vanished=_vanished(old, new),
        environment=[*filter(None, [pair]), *_environment(old, new)],
        notes=[*map(_explained, explained), *_notes(old, new, changes)],
    )


def _figures(session: Session) -> dict[Key, Measurement]:
    figures: dict[Key, Measurement] = {}
    for figure in (figure for claim in session.claims for figure in claim.measurements):
        again = 0
        while (key := (figure.subject, figure.test, figure.label, again)) in figures:
            again += 1
        figures[key] = figure
    return figures


def _rule(before: Measurement, after: Measurement, then: Subject | None, now: Subject | None) -> Rule:
    if after.published.rounding:
        return "band alone"
    same_prompts = then and now and not on_other_prompts(then, now)
    if before.method == after.method == "exact":
        return "rounding" if same_prompts or before.value == after.value else "not comparable"
    if not same_prompts or len(before.per_prompt) != len(after.per_prompt) or not after.per_prompt:
        return "unpaired"
    same_run = all(getattr(then, name) == getattr(now, name) for name in DETERMINES)
    return "rounding" if same_run else "paired"


def _change(
    before: Measurement, after: Measurement, rule: Rule, error: float, rounding: float, arms: Sequence[float]
) -> Change:
    """arms: how many standard errors an arm of each run's intervals is long."""
    difference = after.value - before.value
    by_prompt = np.array(after.per_prompt) - np.array(before.per_prompt) if rule in ("rounding", "paired") else []
    size = 1 + max(map(abs, [before.value, after.value]))
    allowed = rounding * size
    if rule == "rounding" and len(by_prompt):
        difference = float(by_prompt[np.abs(by_prompt).argmax()])
        allowed = rounding * (1 + max(map(abs, [*before.per_prompt, *after.per_prompt])))
    elif rule == "paired":
        n = len(by_prompt)
        spread = float(by_prompt.std(ddof=1)) if n > 1 else 0.0
        allowed += float(stats.t.ppf(1 - error / 2, max(n - 1, 1))) * spread / n**0.5
    elif rule == "unpaired":
        up = difference > 0
        between = (
            (before.high - before.value, after.value - after.low)
            if up
            else (before.value - before.low, after.high - after.value)
        )
        allowed += float(stats.norm.ppf(1 - error / 2)) * float(np.hypot(*np.divide(between, arms)))
    return Change(
        test=after.test,
        subject=after.subject,
        label=after.label,
        old=before.value,
        new=after.value,
        difference=difference,
        allowed=allowed,
        rule=rule,
        drifted=rule not in NOT_COMPARED and abs(difference) > allowed,
    )


def _end_that_moved(before: Measurement, after: Measurement, change: Change) -> Change | None:
    """The end of the interval that moved further than its figure may, where the figure itself did not."""
    ends = [("lower", before.low, after.low), ("upper", before.high, after.high)]
    name, old, new = max(ends, key=lambda end: abs(end[2] - end[1]))
    if change.drifted or abs(new - old) <= change.allowed:
        return None
    moved = {"label": f"{after.label}, {name} end of its interval", "old": old, "new": new, "difference": new - old}
    return change.model_copy(update={**moved, "drifted": True})


def _rounding(then: Subject | None, now: Subject | None) -> float:
    """Of the coarser of both number types."""
    return max(ROUNDING[subject.dtype if subject else "float32"] for subject in (then, now))


def _appeared(old: Session, new: Session) -> list[str]:
    """Also where only a selection was kept, if it has nothing of this run: no run passes compared with nothing."""
    known = {claim.test for claim in old.claims}
    may_be_new = old.selection in ("", new.selection) or not any(claim.test in known for claim in new.claims)
    return _only_in(new, old) if may_be_new else []


def _vanished(old: Session, new: Session) -> list[str]:
    """Nothing where this run was of another selection, of other subjects, or did not reach its end."""
    subjects = {claim.subject for claim in new.claims}
    asked = old.model_copy(update={"claims": [claim for claim in old.claims if claim.subject in subjects]})
    return _only_in(asked, new) if not new.ended and old.selection == new.selection else []


def _only_in(session: Session, other: Session) -> list[str]:
    """Claims that `other` lacks, and figures that it lacks of claims that came out alike."""
    others = {claim.test: claim for claim in other.claims}
    figures = _figures(other)
    only = []
    for claim in session.claims:
        if claim.test not in others:
            only.append(claim.test)
        elif standing(claim) == standing(others[claim.test]):
            keys = _figures(session.model_copy(update={"claims": [claim]}))
            only += [f"{claim.test}: {key[2]}" for key in keys if key not in figures]
    return only


def _environment(old: Session, new: Session) -> Iterator[Setting]:
    for name in dict.fromkeys([*old.versions, *new.versions]):
        yield from _setting(name, old.versions.get(name, "none"), new.versions.get(name, "none"))
    then = {subject.name: subject for subject in old.subjects}
    for subject in new.subjects:
        for field in AROUND if subject.name in then else ():
            was, now = getattr(then[subject.name], field), getattr(subject, field)
            yield from _setting(f"{subject.name}: {field.replace('_', ' ')}", str(was), str(now))
    figures, kept = _figures(new), _figures(old)
    both = [(kept[key], figures[key]) for key in figures if key in kept]
    for was, now in sorted({(before.method, after.method) for before, after in both}):
        yield from _setting("intervals", was, now)
    edited = {after.published.id: (before.published, after.published) for before, after in both}
    for id, (before, after) in edited.items():
        yield from _setting(f"accepted band of {id}", str(before.accept), str(after.accept))
        yield from _setting(f"published figure of {id}", before.says, after.says)


def _explained(flip: Flip) -> str:
    return f"{flip.sentence} {flip.old} -> {flip.new}, as other prompts may have it: no drift. {flip.test}"


def _setting(name: str, old: str, new: str) -> Iterator[Setting]:
    if old != new:
        yield Setting(name=name, old=old, new=new)


def _notes(old: Session, new: Session, changes: list[Change]) -> Iterator[str]:
    alone = {claim.subject for claim in old.claims} ^ {claim.subject for claim in new.claims}
    for name in sorted(filter(None, alone)):
        where = "the baseline" if any(claim.subject == name for claim in old.claims) else "this run"
        yield f"{name} is in {where} alone"
    if old.selection != new.selection:
        yield (
            f"only claims that both ran were compared: the baseline is a run of {old.selection or 'everything'}, this "
            f"is one of {new.selection or 'everything'}"
        )
    for session, which in ((old, "the baseline's run"), (new, "this run")):
        if session.ended:
            yield f"{which} ended early ({session.ended}): claims that it did not reach were not compared"
    count = Counter(change.rule for change in changes)
    if own := count["band alone"]:
        yield f"{own} figures are what rounding itself does: their bands judge them, and they were not compared"
    if loose := count["not comparable"]:
        yield (
            f"{loose} figures were computed, not sampled, on other prompts than the baseline's: they have no interval "
            "and were not compared"
        )


def _version(text: str) -> int:
    """The schema version that a JSON text claims to have; 0 where it is no JSON object or claims none."""
    try:
        return int(json.loads(text)["schema_version"])
    except (ValueError, KeyError, TypeError):
        return 0
