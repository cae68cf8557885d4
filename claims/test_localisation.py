"""§3 and App. J: the answer appears in the residual stream at layer 9; the first MLP acts as an extended embedding."""

import pytest

from ioi_fixtures.pytest_fixtures.drawings import attribution_by_part, lens_by_layer, top_tokens_of
from lib.instruments.attribution import attribution_by_layer, logit_lens
from lib.judging.statistics import mean_over_prompts, strongest

NAME_MOVER_LAYER = 9  # of 9.9 and 9.6, the two strongest


def test_the_answer_is_not_in_the_residual_stream_before_layer_7(model, ioi, ioi_run, published, record):
    """Read off the residual stream before layer 7, the logit difference is about zero."""
    claim = published["localisation/lens-before-layer-7"]
    lens = logit_lens(ioi_run, model.weights, ioi.answers)
    record.show(lens_by_layer(lens))
    early = record("logit lens before layer 7", mean_over_prompts(lens[7]), claim)
    assert early in claim


def test_the_answer_is_in_the_residual_stream_after_layer_9(model, ioi, ioi_run, whole, published, record):
    """Read off the residual stream after layer 9, the logit difference is above its final value."""
    claim = published["localisation/lens-after-layer-9"]
    lens = logit_lens(ioi_run, model.weights, ioi.answers)
    record.show(lens_by_layer(lens))
    record.show(top_tokens_of(model, ioi, ioi_run))
    late = record("logit lens after layer 9 / final", whole.share(lens[NAME_MOVER_LAYER + 1]), claim)
    assert late in claim


@pytest.mark.parametrize("layer", [9, 10, 11])
def test_late_attention_layers_write_and_then_suppress_the_answer(layer, model, ioi, ioi_run, published, record):
    """Attention layer {layer} adds about the published amount to the logit difference."""
    claim = published[f"localisation/attention-layer-{layer}"]
    attention_layers, _ = attribution_by_layer(ioi_run, model.weights, ioi.answers)
    written = record(f"attribution of attention layer {layer}", mean_over_prompts(attention_layers[layer]), claim)
    assert written in claim


def test_no_mlp_writes_the_answer(model, ioi, ioi_run, published, record):
    """Control: even the MLP that adds most in size adds little of the logit difference directly."""
    claim = published["localisation/any-mlp"]
    attention_layers, mlps = attribution_by_layer(ioi_run, model.weights, ioi.answers)
    record.show(attribution_by_part(attention_layers, mlps))
    most = mlps[strongest(mlps.mean(-1))]
    written = record("strongest attribution of an MLP", mean_over_prompts(most), claim)
    assert written in claim


def test_without_the_first_mlp_the_logit_difference_is_gone(without_mlp, ioi, whole, published, record):
    """With the first MLP at its ABC mean the logit difference is gone, or reversed."""
    claim = published["localisation/first-mlp-knocked-out"]
    broken = without_mlp(0).logit_difference(ioi.answers)
    left = record("logit difference without MLP 0 / with it", whole.share(broken), claim)
    assert left in claim


@pytest.mark.parametrize("layer", [3, 6, 9])
def test_no_later_mlp_matters_as_much(layer, without_mlp, ioi, whole, published, record):
    """Control: with MLP {layer} at its ABC mean most of the logit difference is left."""
    claim = published["localisation/other-mlp-knocked-out"]
    broken = without_mlp(layer).logit_difference(ioi.answers)
    left = record(f"logit difference without MLP {layer} / with it", whole.share(broken), claim)
    assert left in claim
