"""§3.1: name mover heads attend from END to the indirect object and copy the name they attend to into the logits."""

import pytest

from ioi_fixtures.circuits.circuit import BACKUP_NAME_MOVERS, CIRCUIT_HEADS, NAME_MOVERS
from ioi_fixtures.pytest_fixtures.drawings import attention_against_projection, attention_by_position, pattern_of
from lib.instruments.attention import attention, value_weighted_attention
from lib.instruments.attribution import attribution_by_head
from lib.instruments.copying import copy_hits, embedding_after_first_mlp
from lib.judging.statistics import correlation, exact, mean_over_prompts, ratio_of_means, share, strongest
from lib.models.heads import select, without

every_name_mover = pytest.mark.parametrize("head", NAME_MOVERS, ids=str)


@every_name_mover
def test_every_name_mover_copies(head, model, name_tokens, published, record):
    """Name mover {head} copies the name it attends to: the name is among the top 5 logits of its output."""
    claim = published["name-movers/copy-score"]
    names = embedding_after_first_mlp(model.weights, name_tokens)
    hits = copy_hits(model.weights, head, names, name_tokens)
    score = record(f"copy score of {head}", share(hits, of="names"), claim)
    assert score in claim


def test_an_average_head_does_not_copy(copied, published, record):
    """Control: the average head's copy score is low, so copying tells name movers from other heads."""
    claim = published["name-movers/average-copy-score"]
    hits = copied[1]
    record.head_map("Copy score", "share of names", hits.double().mean(-1), first_layer=1)
    score = record("mean copy score over heads", share(hits.double().mean((0, 1)), of="names"), claim)
    assert score in claim


@every_name_mover
def test_every_name_mover_copies_the_names_of_the_prompts(head, model, names_in_prompts, published, record):
    """Given the stream after the first block at IO, S1 or S2, name mover {head} writes the name that stands there."""
    claim = published["name-movers/copy-score-in-prompts"]
    hits = copy_hits(model.weights, head, *names_in_prompts)
    score = record(f"copy score of {head} in prompts", share(hits.double().mean(0)), claim)
    assert score in claim


def test_an_average_head_does_not_copy_the_names_of_the_prompts(copied_in_prompts, published, record):
    """Control: given the same, the average head does not write the name that stands there."""
    claim = published["name-movers/average-copy-score-in-prompts"]
    score = record("mean copy score in prompts", share(copied_in_prompts[1], of="names in prompts"), claim)
    assert score in claim


@every_name_mover
def test_every_name_mover_has_positive_eigenvalues_from_token_to_token(head, full_ov_eigenvalues, published, record):
    """From tokens after the first MLP to logits, the OV eigenvalues of name mover {head} are positive on balance."""
    claim = published["name-movers/full-ov-eigenvalues"]
    score = record(f"eigenvalue score of {head}, token to token", exact(full_ov_eigenvalues[head]), claim)
    assert score in claim


def test_an_average_head_has_eigenvalues_of_both_signs(full_ov_eigenvalues, published, record):
    """Control: from token to token, the eigenvalues of the average head outside the circuit are of both signs."""
    claim = published["any-head/full-ov-eigenvalues"]
    record.head_map("Eigenvalue score, token to token", "sum of eigenvalues / sum of their sizes", full_ov_eigenvalues)
    mean = exact(without(full_ov_eigenvalues, CIRCUIT_HEADS).mean())
    score = record("eigenvalue score, other heads, token to token", mean, claim)
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


def test_name_movers_have_no_indirect_object_without_a_repeated_name(ioi, ioi_run, abc, abc_run, published, record):
    """With three fresh names, the name movers attend less to the indirect object's place than with one repeated."""
    claim = published["name-movers/attention-on-abc"]
    fresh, repeated = (
        select(attention(run, query=batch.positions["END"], key=batch.positions["IO"]), NAME_MOVERS).mean(0)
        for run, batch in ((abc_run, abc), (ioi_run, ioi))
    )
    left = record("attention END to IO, ABC / IOI", ratio_of_means(fresh, repeated), claim)
    assert left in claim


@every_name_mover
def test_no_name_mover_prefers_a_name_without_a_repeated_one(head, abc, abc_run, published, record):
    """Control: with three fresh names, name mover {head} attends to either name of the first clause alike."""
    claim = published["name-movers/no-preference-on-abc"]
    to_io, to_s1 = (
        attention(abc_run, query=abc.positions["END"], key=abc.positions[name])[head] for name in ("IO", "S1")
    )
    preference = record(f"attention of {head} to IO over S1 on ABC", mean_over_prompts(to_io - to_s1), claim)
    assert preference in claim


def test_what_name_movers_move_is_the_indirect_object(ioi, ioi_run, published, record):
    """Weighted with the size of the values, too, the name movers' attention from END is on the indirect object."""
    claim = published["name-movers/value-weighted-attention"]
    to_io = value_weighted_attention(ioi_run, query=ioi.positions["END"], key=ioi.positions["IO"])
    mean = mean_over_prompts(select(to_io, NAME_MOVERS).mean(0))
    mean = record("value-weighted attention END to IO", mean, claim)
    assert mean in claim


def test_an_average_head_moves_little_of_the_indirect_object(ioi, ioi_run, published, record):
    """Control: weighted so, the attention of the average head outside the circuit is little on the indirect object."""
    claim = published["any-head/value-weighted-attention"]
    to_io = value_weighted_attention(ioi_run, query=ioi.positions["END"], key=ioi.positions["IO"])
    mean = mean_over_prompts(without(to_io, CIRCUIT_HEADS).mean(0))
    mean = record("value-weighted attention END to IO, other heads", mean, claim)
    assert mean in claim


@every_name_mover
def test_the_more_a_name_mover_attends_to_a_name_the_more_it_writes_it(
    head, names_attended_and_written, published, record
):
    """The more name mover {head} attends to a name, IO or S, the further its output points along that name."""
    claim = published["name-movers/attention-and-writing"]
    attended, written = names_attended_and_written
    together = record(f"correlation of attention and output, {head}", correlation(attended[head], written[head]), claim)
    assert together in claim


def test_an_average_head_does_not_write_the_names_it_attends_to(names_attended_and_written, published, record):
    """Control: in the average head outside the circuit, attention to a name and output along it hardly go together."""
    claim = published["any-head/attention-and-writing"]
    together = correlation(*(without(values, CIRCUIT_HEADS) for values in names_attended_and_written))
    together = record("mean correlation of attention and output, other heads", together, claim)
    assert together in claim


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
    most = outside[strongest(outside.mean(-1))]
    written = record("strongest attribution outside the circuit", mean_over_prompts(most), claim)
    assert written in claim
