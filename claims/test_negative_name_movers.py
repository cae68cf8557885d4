"""§3.1: negative name mover heads attend like name movers and write against the name they attend to."""

import pytest

from ioi_fixtures.circuits.circuit import NEGATIVE_NAME_MOVERS
from ioi_fixtures.pytest_fixtures.drawings import attention_against_projection, pattern_of
from lib.instruments.attention import attention
from lib.instruments.attribution import attribution_by_head
from lib.instruments.copying import copy_hits, embedding_after_first_mlp
from lib.judging.statistics import correlation, exact, mean_over_prompts, share

every_negative = pytest.mark.parametrize("head", NEGATIVE_NAME_MOVERS, ids=str)


@every_negative
def test_every_negative_name_mover_copies_with_its_sign_flipped(head, model, name_tokens, published, record):
    """With its output's sign flipped, negative name mover {head} copies the name it attends to."""
    claim = published["negative-name-movers/copy-score"]
    names = embedding_after_first_mlp(model.weights, name_tokens)
    hits = copy_hits(model.weights, head, names, name_tokens, sign=-1)
    score = record(f"negative copy score of {head}", share(hits, of="names"), claim)
    assert score in claim


@every_negative
def test_no_negative_name_mover_copies_as_it_stands(head, model, name_tokens, published, record):
    """Control: with its sign as it is, negative name mover {head} does not copy."""
    claim = published["name-movers/average-copy-score"]
    names = embedding_after_first_mlp(model.weights, name_tokens)
    hits = copy_hits(model.weights, head, names, name_tokens)
    score = record(f"copy score of {head}", share(hits, of="names"), claim)
    assert score in claim


def test_an_average_head_does_not_copy_with_its_sign_flipped(copied, published, record):
    """Control: with signs flipped, the average head does not copy either."""
    claim = published["negative-name-movers/average-copy-score"]
    hits = copied[-1]
    record.head_map("Copy score, signs flipped", "share of names", hits.double().mean(-1), first_layer=1)
    score = record("mean negative copy score over heads", share(hits.double().mean((0, 1)), of="names"), claim)
    assert score in claim


@every_negative
def test_every_negative_name_mover_copies_the_names_of_the_prompts_with_its_sign_flipped(
    head, model, names_in_prompts, published, record
):
    """With its sign flipped, {head} writes the name that stands at IO, S1 or S2, given the stream after block 0."""
    claim = published["negative-name-movers/copy-score-in-prompts"]
    hits = copy_hits(model.weights, head, *names_in_prompts, sign=-1)
    score = record(f"negative copy score of {head} in prompts", share(hits.double().mean(0)), claim)
    assert score in claim


def test_an_average_head_does_not_copy_the_names_of_the_prompts_with_its_sign_flipped(
    copied_in_prompts, published, record
):
    """Control: given the same and with signs flipped, the average head does not write the name that stands there."""
    claim = published["negative-name-movers/average-copy-score-in-prompts"]
    score = record("mean negative copy score in prompts", share(copied_in_prompts[-1], of="names in prompts"), claim)
    assert score in claim


@every_negative
def test_every_negative_name_mover_has_negative_eigenvalues_from_token_to_token(
    head, full_ov_eigenvalues, published, record
):
    """From tokens after the first MLP to logits, the OV eigenvalues of {head} are negative on balance."""
    claim = published["negative-name-movers/full-ov-eigenvalues"]
    score = record(f"eigenvalue score of {head}, token to token", exact(full_ov_eigenvalues[head]), claim)
    assert score in claim


@every_negative
def test_the_more_a_negative_name_mover_attends_to_a_name_the_more_it_writes_against_it(
    head, names_attended_and_written, published, record
):
    """The more negative name mover {head} attends to a name, IO or S, the further its output points away from it."""
    claim = published["negative-name-movers/attention-and-writing"]
    attended, written = names_attended_and_written
    together = record(f"correlation of attention and output, {head}", correlation(attended[head], written[head]), claim)
    assert together in claim


@every_negative
def test_every_negative_name_mover_writes_against_the_answer(head, model, ioi, ioi_run, published, record):
    """Negative name mover {head} lowers the logit difference by itself, by about the published amount."""
    claim = published[f"attribution/{head}"]
    attribution = attribution_by_head(ioi_run, model.weights, ioi.answers)
    record.show(attention_against_projection(head, model.weights, ioi, ioi_run))
    written = record(f"direct logit attribution of {head}", mean_over_prompts(attribution[head]), claim)
    assert written in claim


@every_negative
def test_every_negative_name_mover_attends_to_the_indirect_object(head, model, ioi, ioi_run, published, record):
    """From END, negative name mover {head} attends to the indirect object more than to both mentions of the subject."""
    claim = published["name-movers/prefers-io"]
    to_io, to_s1, to_s2 = (
        attention(ioi_run, query=ioi.positions["END"], key=ioi.positions[name])[head] for name in ("IO", "S1", "S2")
    )
    record.show(pattern_of(head, model, ioi, ioi_run))
    preference = record(f"attention of {head} to IO over S1 and S2", mean_over_prompts(to_io - to_s1 - to_s2), claim)
    assert preference in claim


@every_negative
def test_patching_the_path_from_a_negative_name_mover_raises_the_answer(
    head, paths_to_logits, whole, published, record
):
    """With the direct path from {head} to the logits patched from ABC, the logit difference rises."""
    claim = published[f"paths/{head}-to-logits"]
    effect = record(f"path {head} to logits", whole.share(paths_to_logits[head] - whole.difference), claim)
    assert effect in claim
