"""What a circuit file states of a model: who attends where, writes what and reads from whom, and that the heads it
names do the task. Asked with --claims-circuit FILE; the file's format is in ioi_fixtures/circuits/circuit_file.py.

Other heads are, throughout, those that are in no class of the file at the same position.
"""

import pytest

from ioi_fixtures.pytest_fixtures.circuit_fixtures import RANDOM_CIRCUITS, path_in_words, writes_instead
from lib.instruments.attention import attention
from lib.instruments.attribution import attribution_by_head
from lib.instruments.copying import copy_hits, embedding_after_first_mlp
from lib.judging.statistics import mean_over_prompts, share
from lib.models.heads import Head, select, without

pytestmark = pytest.mark.any_model


def test_the_model_does_the_task(circuit_file, ioi, ioi_run, stated_graph, published, record):
    """The indirect object's logit is above the subject's."""
    claim = published["circuit-file/logit-difference"]
    if circuit_file.classes:
        record.show(stated_graph())
    differences = ioi_run.logit_difference(ioi.answers)
    worst = ioi.sentence(int(differences.argmin()))
    difference = record("logit difference", mean_over_prompts(differences), claim, worst_prompt=worst)
    assert difference in claim


def test_every_head_attends_where_its_class_does(
    attending_member, attends_instead, circuit_file, ioi, ioi_run, published, record
):
    """Head {attending_member} attends where its class does, more than the average other head."""
    claim = published["circuit-file/attention"]
    head, of = attending_member
    attended = attention(ioi_run, query=ioi.positions[of.at], key=ioi.positions[of.attends_to])
    lead = attended[head] - without(attended, circuit_file.heads_at(of.at)).mean(0)
    lead = record(f"attention {of.at} to {of.attends_to} beyond the average head's", mean_over_prompts(lead), claim)
    record.instead(attends_instead(attending_member))
    assert lead in claim


def test_every_class_writes_for_or_against_the_answer(writing_class, model, ioi, ioi_run, whole, published, record):
    """The {writing_class} heads together write for the answer, or against it, as the file states."""
    claim = published["circuit-file/class-writes"]
    written = attribution_by_head(ioi_run, model.weights, ioi.answers)
    written = select(written, writing_class.heads).sum(0) * writing_class.sign
    written = whole.share(written)
    written = record(f"attribution {writing_class.writes} / logit difference", written, claim)
    record.instead(writes_instead(f"the class {writing_class}", written, writing_class.sign))
    assert written in claim


def test_every_head_writes_as_its_class_does(writing_member, model, ioi, ioi_run, whole, published, record):
    """Head {writing_member} writes for the answer, or against it, as its class does."""
    claim = published["circuit-file/head-writes"]
    head, of = writing_member
    written = attribution_by_head(ioi_run, model.weights, ioi.answers)[head] * of.sign
    written = whole.share(written)
    written = record(f"attribution of {head} {of.writes} / logit difference", written, claim)
    record.instead(writes_instead(head, written, of.sign))
    assert written in claim


def test_an_average_other_head_writes_nothing(
    writing_class, circuit_file, model, ioi, ioi_run, whole, published, record
):
    """Control: beside the {writing_class} heads, the average other head writes nothing for or against the answer."""
    claim = published["circuit-file/others-write"]
    written = attribution_by_head(ioi_run, model.weights, ioi.answers)
    record.head_map("Direct attribution", "logit difference", written.mean(-1))
    others = without(written, circuit_file.heads_at(writing_class.at)).mean(0)
    others = whole.share(others)
    others = record("attribution of other heads / logit difference", others, claim)
    assert others in claim


def test_every_head_copies_as_its_class_does(copying_member, model, name_tokens, published, record):
    """Head {copying_member} raises the name it attends to, or lowers it, as its class does: the name is among the top 5
    logits of its output, or of its output negated."""
    claim = published["circuit-file/copies"]
    head, of = copying_member
    names = embedding_after_first_mlp(model.weights, name_tokens)
    hits = copy_hits(model.weights, head, names, name_tokens, sign=of.copy_sign)
    score = record(f"copy score of {head}, {of.copies} the name", share(hits, of="names"), claim)
    assert score in claim


def test_an_average_other_head_does_not_copy(copying_class, circuit_file, copied, published, record):
    """Control: the average head outside the circuit does not copy as the {copying_class} heads do."""
    claim = published["circuit-file/others-copy"]
    hits = copied[copying_class.copy_sign].double()
    record.head_map("Copy score", "share of names", hits.mean(-1), first_layer=1)
    above = {Head(head.layer - 1, head.index) for head in circuit_file.heads_at(copying_class.at) if head.layer}
    others = share(without(hits, above).mean(0), of="names")
    score = record(f"mean copy score of other heads, {copying_class.copies} the name", others, claim)
    assert score in claim


def test_every_head_scores_on_random_tokens_as_its_class_does(
    scoring_member, circuit_file, random_token_scores, published, record
):
    """On repeated random tokens, head {scoring_member} attends as its class does, more than the average other head."""
    claim = published["circuit-file/score"]
    head, of = scoring_member
    scores = getattr(random_token_scores, of.scores)
    lead = scores[head] - without(scores, circuit_file.heads_at(of.at)).mean(0)
    lead = mean_over_prompts(lead, of="sequences")
    lead = record(f"{of.scores}-token score of {head} beyond the average head's", lead, claim)
    assert lead in claim


def test_an_average_other_head_does_not_score_on_random_tokens(
    scoring_class, circuit_file, random_token_scores, published, record
):
    """Control: on repeated random tokens, the average other head does not attend as the {scoring_class} heads do."""
    claim = published["circuit-file/others-score"]
    scores = getattr(random_token_scores, scoring_class.scores)
    record.head_map(f"{scoring_class.scores}-token score", "attention", scores.mean(-1))
    others = mean_over_prompts(without(scores, circuit_file.heads_at(scoring_class.at)).mean(0), of="sequences")
    score = record(f"{scoring_class.scores}-token score of other heads", others, claim)
    assert score in claim


def test_every_path_carries_more_than_other_paths(edge, model, path_change, whole, published, record):
    """Patched from ABC, the path {edge} changes the logit difference more than paths from as many other heads."""
    claim = published["circuit-file/edge"]
    theirs, of_others = path_change(edge)
    lead = whole.share(theirs - of_others)
    path = path_in_words(edge, model.weights)
    lead = record(f"change by the path {path} beyond that by others / logit difference", lead, claim)
    assert lead in claim


def test_paths_from_other_heads_carry_little(edge, model, path_change, whole, published, record):
    """Control: beside {edge}, the path from as many other heads changes the logit difference little."""
    claim = published["circuit-file/other-edges"]
    _, of_others = path_change(edge)
    change = whole.share(of_others)
    path = path_in_words(edge, model.weights)
    change = record(f"change by paths from others beside {path} / logit difference", change, claim)
    assert change in claim


def test_the_circuit_alone_does_the_task(stated_alone, whole, published, record):
    """The file's heads alone, each at its position and all else at its mean, do most of what the model does."""
    claim = published["circuit-file/faithfulness"]
    faithfulness = whole.share(stated_alone(frozenset()))
    faithfulness = record("F(C) / F(M), mean ablation", faithfulness, claim)
    assert faithfulness in claim


@pytest.mark.parametrize("seed", range(RANDOM_CIRCUITS))
def test_other_heads_alone_do_not(seed, stated_random_circuits, whole, published, record):
    """Control: as many other heads at the same positions (draw {seed}) do next to nothing by themselves."""
    claim = published["circuit-file/random-circuit"]
    alone = stated_random_circuits[seed]
    recovered = whole.share(alone)
    recovered = record(f"F(random circuit {seed}) / F(M)", recovered, claim)
    assert recovered in claim


def test_every_class_is_needed(head_class, stated_alone, whole, published, record):
    """Minimality: without the {head_class} heads the circuit does something else."""
    claim = published["circuit-file/class-needed"]
    change = stated_alone(head_class.places) - stated_alone(frozenset())
    change = whole.share(change * change.mean().sign())
    change = record(f"|F(C minus K) - F(C)| / F(M), K = {head_class}", change, claim)
    assert change in claim


def test_every_head_is_needed(member, stated_alone, whole, published, record):
    """Minimality: in a circuit without the rest of its class, head {member} makes a difference."""
    claim = published["circuit-file/head-needed"]
    head, of = member
    mates = of.places - {(head, of.at)}
    change = stated_alone(of.places) - stated_alone(mates)
    change = whole.share(change * change.mean().sign())
    change = record(f"|F(C minus K and v) - F(C minus K)| / F(M), v = {head}", change, claim)
    assert change in claim


def test_without_a_class_circuit_and_model_are_still_alike(
    head_class, stated_alone, model_without_class, whole, published, record
):
    """Completeness: with the {head_class} heads removed, circuit and model differ by no more than half as much again as
    the largest published gap."""
    claim = published["circuit-file/incompleteness"]
    gap = model_without_class(head_class) - stated_alone(head_class.places)
    gap = whole.share(gap)
    gap = record(f"(F(M minus K) - F(C minus K)) / F(M), K = {head_class}", gap, claim)
    assert gap in claim
