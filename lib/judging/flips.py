"""How claims came out in two runs: what is drift, and what other prompts may do.

A verdict that moves between "holds" and "inconclusive" says no more than that an interval reaches the end of its band
or does not, which other prompts decide. On the same prompts it is drift, as is every other verdict that moves.
"""

from __future__ import annotations

from lib.judging.measurements import Flip, Session
from lib.judging.pairing import on_other_prompts
from lib.judging.verdicts import WORDS, standing

AS_PROMPTS_HAVE_IT = {"holds", "inconclusive"}


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
