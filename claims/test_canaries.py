"""Canaries: figures that TransformerLens' demos print for fixed prompts, to the digits printed and .001 of a logit.

The tightest published numbers there are: a library, a driver or a number type that moves them has changed what every
interpretability result on GPT-2 small means. They say nothing about any other model, so no other is asked for them.
"""

from functools import cache

import pytest

from ioi_fixtures.circuits.canaries import (
    ABLATED,
    ABLATED_LOGIT_DIFFERENCE,
    ATTRIBUTION_CHANGES,
    BOTTLE_OF_MILK,
    CANARIES,
    GOLDEN_BOTTLE_OF_MILK,
    GOLDEN_TOKENS,
    HEAD_ATTRIBUTIONS,
    LAYER_ATTRIBUTIONS,
    LOGIT_DIFFERENCES,
    LOGIT_LENS,
    LOGITS,
    MEAN_LOGIT_DIFFERENCE,
    PROBABILITY_OF_MARY,
    RECOVERED_AT_POSITION,
    RECOVERED_BY_HEAD,
    RECOVERED_BY_LAYER,
    SCALE_RATIO,
    as_printed,
    encode_canaries,
    single_token,
    without_head,
    wrong_tokens,
)
from ioi_fixtures.sentences.variants import swap_s2
from lib.instruments.attribution import attribution_by_head, attribution_by_layer, logit_lens
from lib.instruments.patching import patch_heads, patch_stream
from lib.instruments.readout import logit_of, probability_of, recovered, scale_ratio
from lib.judging.statistics import exact

pytestmark = pytest.mark.only_for("gpt2-small")

KEPT = ("resid_pre", "attn_out", "mlp_out", "q", "k", "v", "z", "pattern", "resid_final", "final_scale")


def each(figures):
    """One test for each printed figure of a table."""
    return [(key, figures[key]) for key in figures]


@pytest.fixture(scope="module")
def canaries(model):
    """The eight prompts as tokens."""
    return encode_canaries(CANARIES, model)


@pytest.fixture(scope="module")
def run(model, canaries):
    """The model on them."""
    return model.run(canaries.tokens, last=canaries.positions["END"], keep=KEPT)


@pytest.fixture(scope="module")
def corrupted_run(model):
    """The model on their partners, which hold the indirect object's name at S2."""
    swapped = encode_canaries(swap_s2(CANARIES), model)
    return model.run(swapped.tokens, last=swapped.positions["END"], keep=KEPT)


@pytest.fixture(scope="module")
def milk_run(model):
    """The model on the prompt about the bottle of milk."""
    milk = encode_canaries(BOTTLE_OF_MILK, model)
    return model.run(milk.tokens, last=milk.positions["END"])


@pytest.fixture(scope="module")
def ablated_run(model, canaries):
    """The model on the eight prompts with one name mover's z at END set to zero."""
    edits = without_head(ABLATED, canaries.positions["END"])
    return model.run(canaries.tokens, last=canaries.positions["END"], keep=("z", "final_scale"), edits=edits)


@pytest.fixture(scope="module")
def normalised(run, corrupted_run, canaries):
    """From logit differences of the corrupted run, patched, to shares recovered."""
    corrupted, clean = (one.logit_difference(canaries.answers) for one in (corrupted_run, run))
    return lambda patched: recovered(patched, corrupted, clean)


@pytest.fixture(scope="module")
def recovered_by_head(model, run, corrupted_run, canaries, normalised):
    """Share recovered by each head's activation at a site, at all positions or at one named. [layer head]"""

    @cache
    def patch(site, position=None):
        where = canaries.positions[position] if position else None
        patched = patch_heads(model.weights, corrupted_run, run, canaries.answers, site=site, position=where)
        return normalised(patched)

    return patch


@pytest.fixture(scope="module")
def recovered_by_layer(model, run, corrupted_run, canaries, normalised):
    """Share recovered by a layer's whole stream, attention output or MLP output. [layer pos]"""
    return cache(lambda site: normalised(patch_stream(model.weights, corrupted_run, run, canaries.answers, site=site)))


@pytest.mark.parametrize(
    ("texts", "golden"),
    [(CANARIES, GOLDEN_TOKENS), (BOTTLE_OF_MILK, GOLDEN_BOTTLE_OF_MILK)],
    ids=["eight prompts", "bottle of milk"],
)
def test_the_tokenizer_gives_the_golden_tokens(texts, golden, model, published, record):
    """The fixed prompts become the tokens they always became, start token first."""
    claim = published["canaries/golden-tokens"]
    wrong = record("tokens that differ", exact(wrong_tokens(texts, golden, model.tokenizer)), claim)
    assert wrong in claim


@pytest.mark.parametrize(("prompt", "printed"), each(LOGIT_DIFFERENCES))
def test_the_logit_difference_of_each_prompt(prompt, printed, run, canaries, published, record):
    """The logit difference of prompt {prompt} is {printed}."""
    claim = as_printed(published["canaries/logit-difference"], printed)
    difference = run.logit_difference(canaries.answers)[prompt]
    difference = record(f"logit difference of prompt {prompt}", exact(difference), claim)
    assert difference in claim


def test_the_mean_logit_difference(run, canaries, published, record):
    """The mean logit difference of the eight prompts is 3.552."""
    claim = as_printed(published["canaries/mean-logit-difference"], MEAN_LOGIT_DIFFERENCE)
    difference = record("mean logit difference", exact(run.logit_difference(canaries.answers).mean()), claim)
    assert difference in claim


def test_the_probability_of_the_answer(model, milk_run, published, record):
    """After "After John and Mary went to the store, John gave a bottle of milk to", " Mary" has probability 70.07%."""
    claim = as_printed(published["canaries/probability"], PROBABILITY_OF_MARY)
    mary = probability_of(milk_run, single_token("Mary", model))
    probability = record("probability of Mary", exact(mary), claim)
    assert probability in claim


@pytest.mark.parametrize(("word", "printed"), each(LOGITS))
def test_the_logits_of_the_likeliest_words(word, printed, model, milk_run, published, record):
    """After the same sentence, " {word}" has logit {printed}."""
    claim = as_printed(published["canaries/logit"], printed)
    logit = record(f"logit of {word}", exact(logit_of(milk_run, single_token(word, model))), claim)
    assert logit in claim


@pytest.mark.parametrize(("head", "printed"), each(HEAD_ATTRIBUTIONS), ids=str)
def test_the_attribution_of_each_head(head, printed, model, run, canaries, published, record):
    """The direct logit attribution of {head} is {printed}."""
    claim = as_printed(published["canaries/head-attribution"], printed)
    written = attribution_by_head(run, model.weights, canaries.answers)[head].mean()
    written = record(f"direct logit attribution of {head}", exact(written), claim)
    assert written in claim


@pytest.mark.parametrize(("part", "printed"), each(LAYER_ATTRIBUTIONS), ids=str)
def test_the_attribution_of_each_layer(part, printed, model, run, canaries, published, record):
    """The direct logit attribution of {part[0]} {part[1]} is {printed}."""
    claim = as_printed(published["canaries/layer-attribution"], printed)
    kind, layer = part
    attention, mlp = attribution_by_layer(run, model.weights, canaries.answers)
    written = {"attention": attention, "mlp": mlp}[kind][layer].mean()
    written = record(f"direct logit attribution of {kind} {layer}", exact(written), claim)
    assert written in claim


@pytest.mark.parametrize(("layer", "printed"), each(LOGIT_LENS))
def test_the_logit_lens(layer, printed, model, run, canaries, published, record):
    """Read off the stream entering layer {layer}, the logit difference is {printed}."""
    claim = as_printed(published["canaries/logit-lens"], printed)
    lens = logit_lens(run, model.weights, canaries.answers)[layer].mean()
    lens = record(f"logit difference entering layer {layer}", exact(lens), claim)
    assert lens in claim


@pytest.mark.parametrize(
    ("site", "head", "printed"),
    [(site, *figure) for site, figures in RECOVERED_BY_HEAD.items() for figure in each(figures)],
    ids=str,
)
def test_what_patching_a_head_recovers(site, head, printed, recovered_by_head, published, record):
    """Patching the {site} of {head} into the corrupted run recovers {printed} of the logit difference."""
    claim = as_printed(published["canaries/recovered"], printed)
    share = record(f"recovered by {site} of {head}", exact(recovered_by_head(site)[head]), claim)
    assert share in claim


@pytest.mark.parametrize(
    ("position", "head", "printed"),
    [(position, *figure) for position, figures in RECOVERED_AT_POSITION.items() for figure in each(figures)],
    ids=str,
)
def test_what_patching_a_head_at_one_position_recovers(position, head, printed, recovered_by_head, published, record):
    """Patching the z of {head} at {position} alone recovers {printed} of the logit difference."""
    claim = as_printed(published["canaries/recovered"], printed)
    share = record(f"recovered by {head} at {position}", exact(recovered_by_head("z", position)[head]), claim)
    assert share in claim


@pytest.mark.parametrize(
    ("site", "position", "layer", "printed"),
    [(*where, *figure) for where, figures in RECOVERED_BY_LAYER.items() for figure in each(figures)],
    ids=str,
)
def test_what_patching_a_layer_recovers(
    site, position, layer, printed, recovered_by_layer, canaries, published, record
):
    """Patching {site} of layer {layer} at {position} recovers {printed} of the logit difference."""
    claim = as_printed(published["canaries/recovered"], printed)
    share = recovered_by_layer(site)[layer, canaries.positions[position][0]]
    share = record(f"recovered by {site} {layer} at {position}", exact(share), claim)
    assert share in claim


def test_the_logit_difference_without_the_first_name_mover(ablated_run, canaries, published, record):
    """With 9.9 zeroed at END the mean logit difference is still 2.917."""
    claim = as_printed(published["canaries/ablated-logit-difference"], ABLATED_LOGIT_DIFFERENCE)
    difference = ablated_run.logit_difference(canaries.answers).mean()
    difference = record("logit difference with 9.9 zeroed", exact(difference), claim)
    assert difference in claim


def test_the_final_scale_without_the_first_name_mover(run, ablated_run, published, record):
    """With 9.9 zeroed at END the final LayerNorm's scale shrinks by a factor of 1.042."""
    claim = as_printed(published["canaries/scale-ratio"], SCALE_RATIO)
    ratio = record("final scale before over after", exact(scale_ratio(run, ablated_run).mean()), claim)
    assert ratio in claim


@pytest.mark.parametrize(("head", "printed"), each(ATTRIBUTION_CHANGES), ids=str)
def test_how_attributions_change_without_the_first_name_mover(
    head, printed, model, run, ablated_run, canaries, published, record
):
    """With 9.9 zeroed at END the direct logit attribution of {head} changes by {printed}."""
    claim = as_printed(published["canaries/attribution-change"], printed)
    before, after = (attribution_by_head(one, model.weights, canaries.answers)[head] for one in (run, ablated_run))
    change = record(f"change of the attribution of {head}", exact((after - before).mean()), claim)
    assert change in claim
