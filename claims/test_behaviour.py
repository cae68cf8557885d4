"""§2: the model completes the sentence with the indirect object, and has no such preference where nothing tells it."""

import pytest

from ioi_fixtures.pytest_fixtures.drawings import heads_at_work
from lib.judging.statistics import mean_over_prompts, share


def test_the_model_prefers_the_indirect_object(ioi, ioi_run, published, record):
    """The indirect object's logit is above the subject's, by about the published margin."""
    claim = published["behaviour/logit-difference"]
    difference = record("logit difference", mean_over_prompts(ioi_run.logit_difference(ioi.answers)), claim)
    assert difference in claim


@pytest.mark.any_model
def test_nearly_every_prompt_is_answered_right(model, ioi, ioi_run, published, record):
    """On nearly every prompt the indirect object's logit is above the subject's."""
    claim = published["behaviour/accuracy"]
    for drawing in heads_at_work(model.weights, ioi, ioi_run):
        record.show(drawing)
    accuracy = record("accuracy", share(ioi_run.logit_difference(ioi.answers) > 0), claim)
    assert accuracy in claim


def test_with_three_fresh_names_there_is_no_preference(abc, abc_run, published, record):
    """Control: scored on ABC prompts, which hold neither name, the logit difference is about zero."""
    claim = published["behaviour/abc-logit-difference"]
    difference = record("logit difference on ABC", mean_over_prompts(abc_run.logit_difference(abc.answers)), claim)
    assert difference in claim


@pytest.mark.any_model
def test_with_three_fresh_names_accuracy_is_chance(abc, abc_run, abc_again, published, record):
    """Control: scored on ABC prompts, either name wins about half of the time."""
    claim = published["behaviour/abc-accuracy"]
    won = [run.logit_difference(batch.answers) > 0 for batch, run in ((abc, abc_run), abc_again)]
    accuracy = record("accuracy on ABC", mean_over_prompts(sum(wins.double() for wins in won) / len(won)), claim)
    assert accuracy in claim
