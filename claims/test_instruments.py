"""Identities that hold on any model: where one fails, the tools report something the model does not compute.

They are no findings about the model, but what every other claim here takes for granted. Checked on a few of the
prompts, one a layer; where a fault may depend on a prompt's place in its batch, on as many as a batch has. Figures are
the largest deviation over prompts, positions and layers. The last ones compare with a witness: the same weights read
and run without any hooking library, in float64.
"""

from functools import cache

import pytest

from ioi_fixtures.pytest_fixtures.encoding import encode_for
from lib.instruments.edits import (
    EDITABLE,
    change_of_mlps_beside,
    editable,
    flipped_by_hooks,
    flipped_in_plain_tensors,
    handed_back,
    is_recomputed,
    patched_into_itself,
    reached_in_its_layer,
)
from lib.instruments.identities import (
    PARTS,
    attention_to_later_tokens,
    attribution_gap,
    forward_in_plain_transformers,
    largest_gap,
    run_one_by_one,
    run_padded_on_the_left,
    run_with_other_padding,
)
from lib.instruments.witness import FIGURES, figure_gap, removal_effects, site_gap, weight_gaps
from lib.judging.coverage import KNOWN, share_of_intervals_that_hold
from lib.judging.statistics import exact
from lib.models.activations import sites_of
from lib.models.backends.plain import forward_in_plain_tensors
from lib.models.budget import ENOUGH_ROWS
from lib.models.model import SITES
from lib.models.precision import in_bfloat16

pytestmark = pytest.mark.any_model


@pytest.fixture(scope="module")
def sample(model, ioi):
    """As many prompts as the model has layers, of several lengths."""
    return ioi[: model.weights.n_layers]


@pytest.fixture(scope="module")
def sample_run(model, sample):
    """The model on them, keeping everything it can: each hook that is asked for has to fire exactly once."""
    return model.run(sample.tokens, last=sample.positions["END"], keep=sites_of(model.weights.architecture))


@pytest.fixture(scope="module")
def two_prompts_run(model, ioi):
    """The model on two prompts, keeping everything."""
    return model.run(ioi[:2].tokens, last=ioi[:2].positions["END"], keep=sites_of(model.weights.architecture))


@pytest.fixture(scope="module")
def largest_batch_run(model, every_prompt):
    """The model on as many prompts as it is given at once in any look, up to the most that one pass takes."""
    batch = encode_for(model, every_prompt)
    batch = batch[: max(1, ENOUGH_ROWS // batch.tokens.shape[1])]
    return model.run(batch.tokens, last=batch.positions["END"])


@pytest.fixture(scope="module")
def coarse(model):
    """What the witness is, with 8 bits a number instead of 53."""
    return in_bfloat16(model)


@pytest.fixture(scope="module")
def witness_runs(model, witness, coarse, ioi, abc):
    """Two prompts and their ABC prompts, run by the model and by the witness; one of them by the coarse one, since a
    processor without instructions for bfloat16 takes its time."""
    keep, counts = sites_of(model.weights.architecture), {model: 2, witness: 2, coarse: 1}
    return {
        one: [one.run(batch[:n].tokens, last=batch[:n].positions["END"], keep=keep) for batch in (ioi, abc)]
        for one, n in counts.items()
    }


@pytest.fixture(scope="module")
def effects(circuit, ioi, witness_runs):
    """What removing each head of the circuit does on the first of those prompts, in one of the models. [head batch]"""

    @cache
    def effects(one, count):
        few, runs = ioi[:count], [run.first(count) for run in witness_runs[one]]
        return removal_effects(one.weights, *runs, few.answers, circuit=circuit, positions=few.positions)

    return effects


@pytest.mark.parametrize("kind", KNOWN)
def test_intervals_hold_the_truth_as_often_as_promised(kind, subject, published, record):
    """Of samples whose {kind} is known, the 95% intervals hold it 95 times of a hundred, not fewer and not more."""
    claim = published["instruments/intervals"]
    held = record(f"intervals of a {kind} that hold it", exact(share_of_intervals_that_hold(kind)), claim)
    assert held in claim


@pytest.mark.parametrize("identity", PARTS)
def test_what_a_run_reports_fits_together(identity, model, sample_run, published, record):
    """In what the library reports, {identity}."""
    claim = published["instruments/parts"]
    gap = record("largest relative deviation", exact(PARTS[identity](sample_run, model.weights).max()), claim)
    assert gap in claim


def test_no_position_attends_to_a_later_one(sample_run, published, record):
    """No position attends to a later one."""
    claim = published["instruments/causal"]
    later = record("largest attention to a later token", exact(attention_to_later_tokens(sample_run).max()), claim)
    assert later in claim


def test_attributions_add_up_to_the_logit_difference(model, sample, sample_run, published, record):
    """The direct attributions of all heads, biases, MLPs and the embedding add up to the logit difference."""
    claim = published["instruments/logits"]
    gap = attribution_gap(sample_run, model.weights, sample.answers)
    gap = record("sum of attributions less logit difference", exact(gap.max()), claim)
    assert gap in claim


def test_the_logits_are_those_of_plain_transformers(model, sample_run, published, record):
    """With folded and centred weights the logits are those of plain transformers, up to a constant."""
    claim = published["instruments/logits"]
    plain = forward_in_plain_transformers(model.directory, sample_run.tokens, sample_run.last, model.dtype)
    gap = record("logits less those of transformers", exact(largest_gap(sample_run.logits, plain).max()), claim)
    assert gap in claim


def test_the_logits_are_those_of_plain_tensors(model, sample_run, published, record):
    """A forward pass of plain tensors on the weights that instruments read gives the library's logits."""
    claim = published["instruments/logits"]
    plain = forward_in_plain_tensors(model.weights, sample_run.tokens, sample_run.last)
    gap = record("logits less those of plain tensors", exact(largest_gap(sample_run.logits, plain).max()), claim)
    assert gap in claim


def test_a_prompt_alone_gives_the_logits_it_has_in_a_batch(model, sample_run, published, record):
    """A prompt run alone and without padding gives the logits it has in a padded batch."""
    claim = published["instruments/logits"]
    alone = run_one_by_one(model, sample_run)
    gap = record("logits alone less those in a batch", exact(largest_gap(sample_run.logits, alone).max()), claim)
    assert gap in claim


def test_what_stands_after_the_prompt_changes_nothing(model, sample_run, published, record):
    """Other tokens in place of the padding after END change no logit at END."""
    claim = published["instruments/logits"]
    other = run_with_other_padding(model, sample_run)
    gap = record("change by other padding", exact(largest_gap(sample_run.logits, other).max()), claim)
    assert gap in claim


def test_padding_on_the_left_gives_the_logits_that_padding_on_the_right_gives(model, sample_run, published, record):
    """Padded on the left instead of the right, with an attention mask, prompts have the same logits at END."""
    claim = published["instruments/logits"]
    left = run_padded_on_the_left(model, sample_run)
    gap = record("change by padding on the left", exact(largest_gap(sample_run.logits, left).max()), claim)
    assert gap in claim


@pytest.mark.parametrize("site", SITES)
def test_a_run_patched_into_itself_is_the_same_run(site, model, two_prompts_run, published, record):
    """Replacing {site} by itself in every layer changes no logit by a single bit, or by rounding alone where the
    library is known to compute an edited one otherwise."""
    claim = published["instruments/null-edit"]
    of_edits = published["instruments/logits"] if is_recomputed(model, site) else claim
    edited = handed_back(model, two_prompts_run, site)
    gap = largest_gap(edited, patched_into_itself(model, two_prompts_run, site))
    gap = record(f"change by {site} patched into itself", exact(gap.max()), claim)
    alone = largest_gap(two_prompts_run.logits, edited)
    alone = record(f"change by {site} handed back as it is", exact(alone.max()), of_edits)
    assert gap in claim
    assert alone in of_edits


@pytest.mark.parametrize("site", EDITABLE)
def test_every_edit_has_the_effect_it_has_in_plain_tensors(site, model, sample_run, published, record):
    """Flipping the sign of {site} changes the logits in whichever layer it is done, and just as in plain tensors."""
    acts, right = published["instruments/edit-acts"], published["instruments/edit-is-right"]
    hooked = flipped_by_hooks(model, sample_run, site)
    plain = flipped_in_plain_tensors(model.weights, sample_run, site)
    change = record(f"least change by {site} flipped", exact(largest_gap(sample_run.logits, hooked).min()), acts)
    gap = record(f"{site} flipped, less the same in plain tensors", exact(largest_gap(hooked, plain).max()), right)
    assert change in acts
    assert gap in right


def test_edits_reach_every_prompt_of_a_batch(model, largest_batch_run, published, record):
    """In as many prompts as one pass takes, each edited at another place, every edit acts, and as in plain tensors."""
    acts, right = published["instruments/edit-acts"], published["instruments/edit-is-right"]
    sites = editable(model)
    hooked = flipped_by_hooks(model, largest_batch_run, *sites)
    plain = flipped_in_plain_tensors(model.weights, largest_batch_run, *sites)
    change = record("least change of any prompt", exact(largest_gap(largest_batch_run.logits, hooked).min()), acts)
    gap = record("edits of all prompts, less the same in plain tensors", exact(largest_gap(hooked, plain).max()), right)
    assert change in acts
    assert gap in right


@pytest.mark.parametrize("site", ["k", "v"])
def test_one_head_of_a_site_reaches_those_that_read_it(site, model, sample_run, published, record):
    """One head of {site} flipped changes z of the heads that are to read it, and of no other head of its layer."""
    acts, none = published["instruments/head-acts"], published["instruments/null-edit"]
    own, others = reached_in_its_layer(model, sample_run, site)
    own = record(f"least change of z that reads the {site}", exact(own.min()), acts)
    others = record(f"largest change of z that does not read the {site}", exact(others.max()), none)
    assert own in acts
    assert others in none


def test_heads_do_not_reach_the_mlp_beside_them(model, sample_run, published, record):
    """What heads write reaches no MLP of their own layer, where that stands beside them and not after them."""
    claim = published["instruments/parts"]
    change = record("largest change of the MLP beside", exact(change_of_mlps_beside(model, sample_run).max()), claim)
    assert change in claim


def test_the_weights_are_those_the_witness_reads(model, witness, published, record):
    """Weights read from the file and folded without any library are those that instruments read."""
    claim = published["instruments/witness-weights"]
    gaps = weight_gaps(model.weights, witness.weights)
    gaps = {name: record(f"largest deviation in {name}", exact(gap), claim) for name, gap in gaps.items()}
    assert all(gap in claim for gap in gaps.values())


@pytest.mark.parametrize("site", SITES)
def test_every_activation_is_the_one_the_witness_has(site, model, witness, witness_runs, published, record):
    """In a run without any hooking library, in float64, {site} is the same in every layer."""
    claim = published["instruments/witness-site"]
    gap = site_gap(witness_runs[model][0], witness_runs[witness][0], site)
    gap = record(f"largest relative deviation of {site}", exact(gap.max()), claim)
    assert gap in claim


@pytest.mark.parametrize("figure", FIGURES)
def test_every_figure_is_the_one_the_witness_measures(figure, model, witness, ioi, witness_runs, published, record):
    """Measured on runs without any hooking library, in float64, {figure} gives the same numbers."""
    claim = published["instruments/witness-figure"]
    mine, other = (FIGURES[figure](one.weights, *witness_runs[one], ioi[:2].answers) for one in (model, witness))
    gap = record(f"largest deviation of {figure}", exact(figure_gap(mine, other).max()), claim)
    assert gap in claim


def test_the_number_type_is_fine_enough_for_the_smallest_effect(model, witness, effects, published, record):
    """Rounding moves what removing a head does to the circuit by less than a tenth of the least that is asked for."""
    claim = published["instruments/number-type"]
    gap = figure_gap(effects(model, 2), effects(witness, 2))
    gap = record("largest deviation of an effect", exact(gap.max()), claim)
    assert gap in claim


def test_bfloat16_is_too_coarse_for_it(coarse, witness, effects, published, record):
    """Control: in bfloat16 rounding alone moves it further than that."""
    claim = published["instruments/coarse-number-type"]
    gap = figure_gap(effects(coarse, 1), effects(witness, 1))
    gap = record("largest deviation in bfloat16", exact(gap.max()), claim)
    assert gap in claim
