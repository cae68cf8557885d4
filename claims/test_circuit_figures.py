"""What somebody published of the heads and layers of a circuit file's model, figure by figure. Asked with a
--claims-circuit FILE that names its published figures; their form is in ioi_fixtures/circuits/own_figures.py.
"""

import pytest

from ioi_fixtures.pytest_fixtures.drawings import lens_by_layer
from lib.instruments.attention import attention
from lib.instruments.attribution import attribution_by_head, attribution_by_layer, logit_lens
from lib.judging.statistics import mean_over_prompts, strongest
from lib.models.heads import without

pytestmark = pytest.mark.any_model


def test_a_head_writes_what_was_published(written_figure, model, ioi, ioi_run, published, record):
    """By itself, head {written_figure} moves the logit difference as was published."""
    claim = published[written_figure.id]
    written = attribution_by_head(ioi_run, model.weights, ioi.answers)
    record.head_map("Direct logit attribution", "logit difference", written.mean(-1))
    figure = f"direct logit attribution of {written_figure}"
    written = record(figure, mean_over_prompts(written[written_figure.address]), claim)
    assert written in claim


def test_a_head_leads_those_that_write_as_it_does(leading_figure, model, ioi, ioi_run, published, record):
    """Of all heads, {leading_figure} writes most for the answer, or against it, as was published."""
    claim = published[leading_figure.id]
    written = attribution_by_head(ioi_run, model.weights, ioi.answers) * leading_figure.sign
    others = without(written, [leading_figure.address])
    lead = written[leading_figure.address] - others[strongest(others.mean(-1).clamp(min=0))]
    lead = record(f"lead of {leading_figure} over the strongest other head", mean_over_prompts(lead), claim)
    assert lead in claim


def test_the_logit_lens_reads_what_was_published(lens_figure, model, ioi, ioi_run, published, record):
    """Read off the stream before layer {lens_figure}, the logit difference is as was published."""
    claim = published[lens_figure.id]
    lens = logit_lens(ioi_run, model.weights, ioi.answers)
    record.show(lens_by_layer(lens))
    read = record(f"logit lens before layer {lens_figure}", mean_over_prompts(lens[lens_figure.address]), claim)
    assert read in claim


def test_a_head_attends_as_was_published(attention_figure, ioi, ioi_run, published, record):
    """Of its attention, head {attention_figure} gives what was published."""
    claim = published[attention_figure.id]
    head, query, key = attention_figure.address
    attended = attention(ioi_run, query=ioi.positions[query], key=ioi.positions[key])[head]
    attended = record(f"attention of {attention_figure}", mean_over_prompts(attended), claim)
    assert attended in claim


def test_the_average_other_head_attends_as_was_published(
    others_attention_figure, circuit_file, ioi, ioi_run, published, record
):
    """Control: the average head that the file does not name gives no more of its attention, {others_attention_figure},
    than was published."""
    claim = published[others_attention_figure.id]
    _, query, key = others_attention_figure.address
    attended = attention(ioi_run, query=ioi.positions[query], key=ioi.positions[key])
    attended = without(attended, circuit_file.named_heads).mean(0)
    attended = record(f"attention of {others_attention_figure}", mean_over_prompts(attended), claim)
    assert attended in claim


def test_nothing_else_writes_more_than_was_published(
    others_figure, circuit_file, model, ioi, ioi_run, published, record
):
    """Control: even the strongest {others_figure} that the file does not name hardly moves the logit difference by
    itself."""
    claim = published[others_figure.id]
    if others_figure.address == "head":
        written = without(attribution_by_head(ioi_run, model.weights, ioi.answers), circuit_file.named_heads)
    else:
        _, written = attribution_by_layer(ioi_run, model.weights, ioi.answers)
    most = written[strongest(written.mean(-1))]
    most = record(f"strongest attribution of another {others_figure}", mean_over_prompts(most), claim)
    assert most in claim


def test_without_an_mlp_as_much_is_left_as_was_published(mlp_figure, without_mlp, ioi, whole, published, record):
    """With MLP {mlp_figure} at its ABC mean, the share of the logit difference that was published is left."""
    claim = published[mlp_figure.id]
    left = whole.share(without_mlp(mlp_figure.address).logit_difference(ioi.answers))
    left = record(f"logit difference without MLP {mlp_figure} / with it", left, claim)
    assert left in claim


def test_signals_move_the_logit_difference_as_was_published(
    signals_figure, circuit_file, signalled, ioi, ioi_run, published, record
):
    """With the output of {signals_figure}, the logit difference changes as was published."""
    claim = published[signals_figure.id]
    of, *cell = signals_figure.address
    places = next(one.places for one in circuit_file.classes if one.name == of)
    change = signalled(places, tuple(cell)) - ioi_run.logit_difference(ioi.answers)
    change = record(f"change of the logit difference, {signals_figure}", mean_over_prompts(change), claim)
    assert change in claim
