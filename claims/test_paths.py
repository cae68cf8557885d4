"""§3: who talks to whom, by path patching from ABC prompts (heads frozen, MLPs recomputed)."""

import pytest

from ioi_fixtures.circuits.circuit import (
    CIRCUIT_HEADS,
    DUPLICATE_TOKEN,
    INDUCTION,
    NAME_MOVERS,
    PREVIOUS_TOKEN,
    neighbours_of,
)
from lib.judging.statistics import strongest
from lib.models.heads import without


@pytest.mark.parametrize("head", NAME_MOVERS, ids=str)
def test_the_path_from_a_name_mover_to_the_logits_carries_the_answer(head, paths_to_logits, whole, published, record):
    """With the direct path from {head} to the logits patched, the logit difference falls by about what is published."""
    claim = published[f"paths/{head}-to-logits"]
    effect = record(f"path {head} to logits", whole.share(paths_to_logits[head] - whole.difference), claim)
    assert effect in claim


def test_no_other_head_has_a_strong_path_to_the_logits(paths_to_logits, whole, published, record):
    """Control: of all heads outside the circuit, even the strongest path to the logits carries little."""
    claim = published["paths/other-heads-to-logits"]
    effects = without(paths_to_logits - whole.difference, CIRCUIT_HEADS)
    record.head_map("Paths to the logits", "logit difference", (paths_to_logits - whole.difference).mean(-1))
    most = effects[strongest(effects.mean(-1))]
    effect = record("strongest other path to logits", whole.share(most), claim)
    assert effect in claim


@pytest.mark.parametrize("head", [*DUPLICATE_TOKEN, *INDUCTION], ids=str)
def test_early_heads_act_through_s_inhibition_values(head, paths_to_s_inhibition_values, whole, published, record):
    """With the path from {head} to the S-inhibition heads' values at S2 patched, the logit difference falls."""
    claim = published["paths/early-heads-to-s-inhibition-values"]
    effect = whole.share(paths_to_s_inhibition_values[head] - whole.difference)
    effect = record(f"path {head} to S-inhibition values", effect, claim)
    assert effect in claim


def test_no_other_head_acts_through_s_inhibition_values(paths_to_s_inhibition_values, whole, published, record):
    """Control: of all heads outside the circuit, even the strongest moves the S-inhibition heads' values little."""
    claim = published["paths/other-heads-to-s-inhibition-values"]
    effects = without(paths_to_s_inhibition_values - whole.difference, CIRCUIT_HEADS)
    change = (paths_to_s_inhibition_values - whole.difference).mean(-1)
    record.head_map("Paths to the S-inhibition heads' values", "logit difference", change)
    most = effects[strongest(effects.mean(-1))]
    effect = record("strongest other path to S-inhibition values", whole.share(most), claim)
    assert effect in claim


def test_s_inhibition_heads_are_reached_by_values_more_than_by_keys(patched_paths, whole, published, record):
    """Patched one by one, early heads act through the S-inhibition heads' values more than through their keys."""
    claim = published["paths/values-over-keys"]
    senders = [[head] for head in (*DUPLICATE_TOKEN, *INDUCTION)]
    by_value, by_key = (patched_paths("S-inhibition", inputs, "S2", senders).mean(0) for inputs in ("v", "k"))
    lead = record("effect through values beyond that through keys", whole.share(by_value - by_key), claim)
    assert lead in claim


def test_previous_token_heads_act_through_induction_keys(patched_paths, circuit_graph, whole, published, record):
    """Patched jointly, both previous-token heads act through the induction heads' keys at S1+1."""
    claim = published["paths/previous-token-heads-to-induction-keys"]
    record.show(circuit_graph())
    [patched] = patched_paths("induction", "k", "S1+1", [PREVIOUS_TOKEN])
    effect = record("path 2.2 and 4.11 to induction keys", whole.share(patched - whole.difference), claim)
    assert effect in claim


def test_previous_token_heads_are_more_than_the_sum_of_their_effects(patched_paths, whole, published, record):
    """Through the induction heads' keys, 2.2 and 4.11 together do more than each by itself, added up."""
    claim = published["paths/previous-token-heads-super-additive"]
    both, *singly = patched_paths("induction", "k", "S1+1", [PREVIOUS_TOKEN, *[[head] for head in PREVIOUS_TOKEN]])
    beyond = (both - whole.difference) - sum(one - whole.difference for one in singly)
    beyond = record("joint effect beyond the sum", whole.share(beyond), claim)
    assert beyond in claim


def test_no_neighbour_acts_through_induction_keys(patched_paths, whole, published, record):
    """Control: of the other heads in the layers of 2.2 and 4.11, even the strongest moves the keys little."""
    claim = published["paths/other-heads-to-induction-keys"]
    neighbours = [[head] for head in neighbours_of(PREVIOUS_TOKEN)]
    effects = patched_paths("induction", "k", "S1+1", neighbours) - whole.difference
    most = effects[strongest(effects.mean(-1))]
    effect = record("strongest other path to induction keys", whole.share(most), claim)
    assert effect in claim
