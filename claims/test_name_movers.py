"""§3.1: name mover heads attend from END to the indirect object and copy the name they attend to into the logits."""

import pytest

from ioi_fixtures.circuit import BACKUP_NAME_MOVERS, CIRCUIT_HEADS, NAME_MOVERS
from ioi_fixtures.drawings import attention_against_projection, attention_by_position, pattern_of
from lib.heads import select, without
from lib.instruments.attention import attention
from lib.instruments.attribution import attribution_by_head
from lib.instruments.copying import copy_hits, copy_hits_of_all, embedding_after_first_mlp
from lib.statistics import mean_over_prompts, share

every_name_mover = pytest.mark.parametrize("head", NAME_MOVERS, ids=str)


@every_name_mover
def test_every_name_mover_copies(head, model, name_tokens, published, record):
    """Name mover {head} copies the name it attends to: the name is among the top 5 logits of its output."""
    claim = published["name-movers/copy-score"]
    names = embedding_after_first_mlp(model.weights, name_tokens)
    score = record(f"copy score of {head}", share(copy_hits(model.weights, head, names, name_tokens)), claim)
    assert score in claim


def test_an_average_head_does_not_copy(model, name_tokens, published, record):
    """Control: the average head's copy score is low, so copying tells name movers from other heads."""
    claim = published["name-movers/average-copy-score"]
    names = embedding_after_first_mlp(model.weights, name_tokens)
    hits = copy_hits_of_all(model.weights, names, name_tokens)
    record.head_map("Copy score", "share of names", hits.double().mean(-1))
    score = record("mean copy score over heads", mean_over_prompts(hits.double().mean((0, 1))), claim)
    assert score in claim


def test_name_movers_attend_to_the_indirect_object(ioi, ioi_run, published, record):
    """From END, the name movers attend to the indirect object."""
    claim = published["name-movers/attention-to-io"]
    to_io = attention(ioi_run, query=ioi.positions["END"], key=ioi.positions["IO"])
    record.show(attention_by_position("name movers", NAME_MOVERS, ioi, ioi_run))
    mean = record("attention END to IO", mean_over_prompts(select(to_io, NAME_MOVERS).mean(0)), claim)
    assert mean in claim


@every_name_mover
def test_every_name_mover_prefers_the_indirect_object(head, model, ioi, ioi_run, published, record):
    """From END, name mover {head} attends to the indirect object more than to both mentions of the subject."""
    claim = published["name-movers/prefers-io"]
    to_io, to_s1, to_s2 = (
        attention(ioi_run, query=ioi.positions["END"], key=ioi.positions[name])[head] for name in ("IO", "S1", "S2")
    )
    record.show(pattern_of(head, model, ioi, ioi_run))
    preference = record(f"attention of {head} to IO over S1 and S2", mean_over_prompts(to_io - to_s1 - to_s2), claim)
    assert preference in claim


def test_an_average_head_does_not_attend_to_the_indirect_object(ioi, ioi_run, published, record):
    """Control: from END, the average head outside the circuit attends little to the indirect object."""
    claim = published["any-head/attention-to-io"]
    to_io = attention(ioi_run, query=ioi.positions["END"], key=ioi.positions["IO"])
    mean = record("attention END to IO, other heads", mean_over_prompts(without(to_io, CIRCUIT_HEADS).mean(0)), claim)
    assert mean in claim


@every_name_mover
def test_every_name_mover_writes_the_answer(head, model, ioi, ioi_run, published, record):
    """Name mover {head} raises the logit difference by itself, by about the published amount."""
    claim = published[f"attribution/{head}"]
    attribution = attribution_by_head(ioi_run, model.weights, ioi.answers)
    record.show(attention_against_projection(head, model.weights, ioi, ioi_run))
    written = record(f"direct logit attribution of {head}", mean_over_prompts(attribution[head]), claim)
    assert written in claim


@every_name_mover
def test_every_name_mover_leads_the_direct_logit_attribution(head, model, ioi, ioi_run, published, record):
    """Name mover {head} writes more of the answer than any head that is neither a name mover nor a backup."""
    claim = published["attribution/name-movers-lead"]
    attribution = attribution_by_head(ioi_run, model.weights, ioi.answers)
    others = without(attribution, (*NAME_MOVERS, *BACKUP_NAME_MOVERS))
    strongest = others[others.mean(-1).argmax()]
    lead = record(
        f"lead of {head} over the strongest other head", mean_over_prompts(attribution[head] - strongest), claim
    )
    assert lead in claim


def test_no_head_outside_the_circuit_writes_the_answer(model, ioi, ioi_run, published, record):
    """Control: even the strongest head outside the circuit hardly moves the logit difference by itself."""
    claim = published["attribution/outside-the-circuit"]
    attribution = attribution_by_head(ioi_run, model.weights, ioi.answers)
    record.head_map("Direct logit attribution", "logit difference", attribution.mean(-1))
    outside = without(attribution, CIRCUIT_HEADS)
    strongest = outside[outside.mean(-1).abs().argmax()]
    written = record("strongest attribution outside the circuit", mean_over_prompts(strongest), claim)
    assert written in claim
