"""How claims came out in two runs: what is drift, what other prompts may do, and what was known to fail.

A verdict that moves between "holds" and "inconclusive" says no more than that an interval reaches the end of its band
or does not, which other prompts decide. On the same prompts it is drift, as is every other verdict that moves.
"""

from __future__ import annotations

from lib.judging.measurements import Flip, Session
from lib.judging.pairing import on_other_prompts, under_the_names_of
from lib.judging.verdicts import NOT_HOLDING, WORDS, standing

AS_PROMPTS_HAVE_IT = {"holds", "inconclusive"}
MAY_BE_KNOWN = {"fails", "inconclusive"}  # what could not be run has said nothing that could be known


def flips(old: Session, new: Session) -> tuple[list[Flip], list[Flip]]:
    """Claims of both runs that came out differently: those that are drift, and those that other prompts explain."""
    before = {claim.test: claim for claim in old.claims}
    then, now = ({one.name: one for one in session.subjects} for session in (old, new))
    drift, explained = [], []
    for claim in new.claims:
        both = [standing(one) for one in (before.get(claim.test, claim), claim)]
        if both[0] != both[1]:
            others = on_other_prompts(then.get(claim.subject), now.get(claim.subject))
            kind = explained if others and {*both} == AS_PROMPTS_HAVE_IT else drift
            kind.append(Flip(test=claim.test, sentence=claim.sentence, old=WORDS[both[0]], new=WORDS[both[1]]))
    return drift, explained


def newly_failing(old: Session, new: Session) -> list[str]:
    """Claims of `new` that do not hold or could not be run, and that are not known from `old` to fail."""
    kept = under_the_names_of(new, old).claims
    known = {claim.test for claim in kept if standing(claim) in MAY_BE_KNOWN}
    bad = {claim.test: standing(claim) for claim in new.claims if standing(claim) in NOT_HOLDING}
    return [test for test, stands in bad.items() if stands not in MAY_BE_KNOWN or test not in known]
