"""Which subject of an earlier run stands for which of a later one: that of the same name; and where each run has one
subject alone, those two, whatever they are called, such as two checkpoints of one model in two folders."""

from __future__ import annotations

from lib.judging.measurements import Claim, Session, Setting, Subject
from lib.judging.verdicts import asked_of, subject_names

SUBJECT = "subject"  # the name of the Setting that says which two were paired


def paired(old: Session, new: Session) -> Setting | None:
    """The names of the two subjects that are compared although they are called differently; None where none are."""
    then, now = ([name for name in subject_names(run) if name] for run in (old, new))
    if len(then) != 1 or len(now) != 1 or then == now:
        return None
    return Setting(name=SUBJECT, old=then[0], new=now[0])


def under_the_names_of(new: Session, old: Session) -> Session:
    """`old`, its subject called what it is called in `new`, where two of other names are paired."""
    pair = paired(old, new)
    if pair is None:
        return old
    subjects = [one.model_copy(update={"name": pair.new}) for one in old.subjects]
    return old.model_copy(update={"subjects": subjects, "claims": [_renamed(claim, pair) for claim in old.claims]})


def on_other_prompts(then: Subject | None, now: Subject | None) -> bool:
    """Whether two runs of a subject had other prompts, as far as both say which."""
    return bool(then and now) and (then.prompts_hash, then.seed) != (now.prompts_hash, now.seed)


def _renamed(claim: Claim, pair: Setting) -> Claim:
    """The claim and its figures, as asked of the later run's subject. One of no subject stays what it is."""
    if not claim.subject:
        return claim
    figures = [
        figure.model_copy(update={"subject": pair.new, "test": asked_of(figure.test, pair.old, pair.new)})
        for figure in claim.measurements
    ]
    return claim.model_copy(
        update={"subject": pair.new, "test": asked_of(claim.test, pair.old, pair.new), "measurements": figures}
    )
