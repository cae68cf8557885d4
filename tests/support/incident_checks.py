"""What the suite checks of any model, under the names of the claims that check it, run on a small model in a second.

Each check is the claim's own measurement and band, without pytest. A check that raises has failed as well: the claim
would be an error.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from ioi_fixtures.controls.random_model import other_names, prompts
from ioi_fixtures.published import FOLDER
from lib.instruments import edits, identities
from lib.instruments.edits import EDITABLE, flipped_by_hooks, flipped_in_plain_tensors
from lib.instruments.identities import PARTS, largest_gap
from lib.instruments.witness import FIGURES, figure_gap, removal_effects, site_gap, weight_gaps
from lib.judging.references import read_references
from lib.judging.statistics import exact
from lib.models.backends.plain import forward_in_plain_tensors
from lib.models.heads import heads
from lib.models.model import SITES, Model
from lib.models.precision import in_bfloat16

PUBLISHED = read_references(FOLDER)
BATCH = prompts(6)
MANY = prompts(40)  # more than there are sites and layers
OTHER = other_names(BATCH)
KEPT = tuple(SITES)
CIRCUIT = {head: "S2" if head.layer < 2 else "END" for head in heads("0.0 0.1 1.0 1.1 2.0 2.1")}


def _holds(claim: str, deviation: Tensor | float) -> bool:
    return exact(float(deviation)) in PUBLISHED[f"instruments/{claim}"]


def _run(model: Model):
    return model.run(BATCH.tokens, last=BATCH.last, keep=KEPT)


def _parts(model: Model, witness: Model) -> bool:
    run = _run(model)
    return all(_holds("parts", part(run, model.weights).max()) for part in PARTS.values())


def _causal(model: Model, witness: Model) -> bool:
    return _holds("causal", identities.attention_to_later_tokens(_run(model)).max())


def _attribution(model: Model, witness: Model) -> bool:
    return _holds("logits", identities.attribution_gap(_run(model), model.weights, BATCH.answers).max())


def _transformers(model: Model, witness: Model) -> bool:
    plain = identities.forward_in_plain_transformers(model.directory, BATCH.tokens, BATCH.last, model.dtype)
    return _holds("logits", largest_gap(_run(model).logits, plain).max())


def _plain_tensors(model: Model, witness: Model) -> bool:
    plain = forward_in_plain_tensors(model.weights, BATCH.tokens, BATCH.last)
    return _holds("logits", largest_gap(_run(model).logits, plain).max())


def _alone(model: Model, witness: Model) -> bool:
    run = _run(model)
    return _holds("logits", largest_gap(run.logits, identities.run_one_by_one(model, run)).max())


def _padding(model: Model, witness: Model) -> bool:
    run = _run(model)
    return _holds("logits", largest_gap(run.logits, identities.run_with_other_padding(model, run)).max())


def _left_padding(model: Model, witness: Model) -> bool:
    run = _run(model)
    return _holds("logits", largest_gap(run.logits, identities.run_padded_on_the_left(model, run)).max())


def _null_edit(model: Model, witness: Model) -> bool:
    run = _run(model)
    gaps = (largest_gap(run.logits, edits.patched_into_itself(model, run, site)).max() for site in SITES)
    return all(_holds("null-edit", gap) for gap in gaps)


def _edit(model: Model, witness: Model) -> bool:
    run = _run(model)
    for site in EDITABLE:
        hooked, plain = flipped_by_hooks(model, run, site), flipped_in_plain_tensors(model.weights, run, site)
        if not _holds("edit-acts", largest_gap(run.logits, hooked).min()):
            return False
        if not _holds("edit-is-right", largest_gap(hooked, plain).max()):
            return False
    return True


def _edits_of_a_batch(model: Model, witness: Model) -> bool:
    run = model.run(MANY.tokens, last=MANY.last)
    hooked, plain = flipped_by_hooks(model, run, *EDITABLE), flipped_in_plain_tensors(model.weights, run, *EDITABLE)
    acts = _holds("edit-acts", largest_gap(run.logits, hooked).min())
    return acts and _holds("edit-is-right", largest_gap(hooked, plain).max())


def _own_heads(model: Model, witness: Model) -> bool:
    run = _run(model)
    found = [edits.reached_in_its_layer(model, run, site) for site in ("k", "v")]
    return all(_holds("head-acts", own.min()) and _holds("null-edit", others.max()) for own, others in found)


def _weights(model: Model, witness: Model) -> bool:
    return all(_holds("witness-weights", gap) for gap in weight_gaps(model.weights, witness.weights).values())


def _sites(model: Model, witness: Model) -> bool:
    mine, other = _run(model), _run(witness)
    return all(_holds("witness-site", site_gap(mine, other, site).max()) for site in SITES)


def _figures(model: Model, witness: Model) -> bool:
    runs = {
        one: [one.run(batch.tokens, last=batch.last, keep=KEPT) for batch in (BATCH, OTHER)] for one in (model, witness)
    }
    for figure in FIGURES.values():
        mine, other = (figure(one.weights, *runs[one], BATCH.answers) for one in (model, witness))
        if not _holds("witness-figure", figure_gap(mine, other).max()):
            return False
    return True


def _effects(model: Model) -> Tensor:
    runs = [model.run(batch.tokens, last=batch.last, keep=KEPT) for batch in (BATCH, OTHER)]
    return removal_effects(model.weights, *runs, BATCH.answers, circuit=CIRCUIT, positions=BATCH.positions)


def _number_type(model: Model, witness: Model) -> bool:
    return _holds("number-type", figure_gap(_effects(model), _effects(witness)).max())


def _coarse_number_type(model: Model, witness: Model) -> bool:
    return _holds("coarse-number-type", figure_gap(_effects(in_bfloat16(model)), _effects(witness)).max())


CHECKS: dict[str, Callable[[Model, Model], bool]] = {
    "what_a_run_reports_fits_together": _parts,
    "no_position_attends_to_a_later_one": _causal,
    "attributions_add_up_to_the_logit_difference": _attribution,
    "the_logits_are_those_of_plain_transformers": _transformers,
    "the_logits_are_those_of_plain_tensors": _plain_tensors,
    "a_prompt_alone_gives_the_logits_it_has_in_a_batch": _alone,
    "what_stands_after_the_prompt_changes_nothing": _padding,
    "padding_on_the_left_gives_the_logits_that_padding_on_the_right_gives": _left_padding,
    "a_run_patched_into_itself_is_the_same_run": _null_edit,
    "every_edit_has_the_effect_it_has_in_plain_tensors": _edit,
    "edits_reach_every_prompt_of_a_batch": _edits_of_a_batch,
    "one_head_of_a_site_reaches_those_that_read_it": _own_heads,
    "the_weights_are_those_the_witness_reads": _weights,
    "every_activation_is_the_one_the_witness_has": _sites,
    "every_figure_is_the_one_the_witness_measures": _figures,
    "the_number_type_is_fine_enough_for_the_smallest_effect": _number_type,
    "bfloat16_is_too_coarse_for_it": _coarse_number_type,
}


def failing(model: Model, witness: Model) -> set[str]:
    """The claims about instruments that do not hold on a model, by the names of their tests."""
    return {name for name, check in CHECKS.items() if not _passes(check, model, witness)}


def _passes(check: Callable[[Model, Model], bool], model: Model, witness: Model) -> bool:
    try:
        return check(model, witness)
    except (RuntimeError, ValueError, IndexError, KeyError):  # shapes that do not fit, or a hook that never fires
        return False
