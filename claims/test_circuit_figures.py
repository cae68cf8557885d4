"""What somebody published of the heads and layers of a circuit file's model, figure by figure. Asked with a
--claims-circuit FILE that names its published figures; their form is in ioi_fixtures/circuits/own_figures.py.
"""

import pytest

from ioi_fixtures.pytest_fixtures.drawings import lens_by_layer
from lib.instruments.attribution import attribution_by_head, logit_lens
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
