"""Activation patching from the clean run into its partner with the indirect object's name at S2.

0 is the partner's logit difference, 1 the clean run's (TransformerLens' Exploratory Analysis and Activation Patching
demos). The subject's second mention is what differs, so the maps show the way it takes: from S2, in layers 7 and 8 to
END, and there to the name movers' queries.
"""

import pytest

from ioi_fixtures.circuits.circuit import CIRCUIT_HEADS, NEGATIVE_NAME_MOVERS, S_INHIBITION
from ioi_fixtures.pytest_fixtures.drawings import recovery_by_layer
from lib.judging.statistics import strongest
from lib.models.heads import heads, without

BY_OUTPUT = heads("5.5 6.9 3.0")


@pytest.mark.parametrize(("position", "layer"), [("S2", 5), ("S2", 9), ("END", 7), ("END", 9)])
def test_the_subject_moves_from_s2_to_end(position, layer, patched_streams, s2_swapped_pair, published, record):
    """Patching the residual stream at {position} before layer {layer} recovers about as much as published."""
    claim = published[f"activation-patching/resid-{position}-layer-{layer}"]
    record.show(recovery_by_layer(patched_streams, s2_swapped_pair))
    recovered = record(
        f"recovery, resid_pre {layer} at {position}",
        s2_swapped_pair.recovered(patched_streams("resid_pre", position, layer)),
        claim,
    )
    assert recovered in claim


@pytest.mark.parametrize("layer", [7, 8, 9])
def test_attention_layers_bring_it_to_end(layer, patched_streams, s2_swapped_pair, published, record):
    """Patching the output of attention layer {layer} at END recovers part of the logit difference."""
    claim = published["activation-patching/attention-end"]
    recovered = record(
        f"recovery, attn_out {layer} at END",
        s2_swapped_pair.recovered(patched_streams("attn_out", "END", layer)),
        claim,
    )
    assert recovered in claim


def test_the_first_mlp_reads_the_token_at_s2(patched_streams, s2_swapped_pair, published, record):
    """Patching the first MLP's output at S2 recovers most of the logit difference: it is an extended embedding."""
    claim = published["activation-patching/first-mlp-s2"]
    recovered = record(
        "recovery, mlp_out 0 at S2", s2_swapped_pair.recovered(patched_streams("mlp_out", "S2", 0)), claim
    )
    assert recovered in claim


@pytest.mark.parametrize("layer", [3, 6, 9])
def test_no_later_mlp_reads_it(layer, patched_streams, s2_swapped_pair, published, record):
    """Control: patching the output of MLP {layer} at S2 recovers little."""
    claim = published["activation-patching/other-mlp-s2"]
    recovered = record(
        f"recovery, mlp_out {layer} at S2", s2_swapped_pair.recovered(patched_streams("mlp_out", "S2", layer)), claim
    )
    assert recovered in claim


@pytest.mark.parametrize("head", S_INHIBITION, ids=str)
def test_s_inhibition_heads_matter_by_their_values(head, patched_heads, s2_swapped_pair, published, record):
    """Patching the values of S-inhibition head {head} recovers part of the logit difference."""
    claim = published["activation-patching/s-inhibition-values"]
    recovered = record(f"recovery, values of {head}", s2_swapped_pair.recovered(patched_heads("v")[head]), claim)
    assert recovered in claim


@pytest.mark.parametrize("head", S_INHIBITION, ids=str)
def test_s_inhibition_heads_do_not_matter_by_their_attention(head, patched_heads, s2_swapped_pair, published, record):
    """Control: patching the attention pattern of S-inhibition head {head} recovers next to nothing."""
    claim = published["activation-patching/s-inhibition-pattern"]
    recovered = record(f"recovery, pattern of {head}", s2_swapped_pair.recovered(patched_heads("pattern")[head]), claim)
    assert recovered in claim


@pytest.mark.parametrize("head", NEGATIVE_NAME_MOVERS, ids=str)
def test_negative_name_movers_lose_what_the_others_recover(head, patched_heads, s2_swapped_pair, published, record):
    """Patching the output of negative name mover {head} lowers the logit difference further."""
    claim = published["activation-patching/negative-name-movers"]
    recovered = record(f"recovery, output of {head}", s2_swapped_pair.recovered(patched_heads("z")[head]), claim)
    assert recovered in claim


@pytest.mark.parametrize("head", heads("9.9"), ids=str)
def test_the_strongest_name_mover_matters_by_its_query(head, patched_heads, s2_swapped_pair, published, record):
    """Patching the query of name mover {head} recovers part of the logit difference."""
    claim = published["activation-patching/name-mover-query"]
    recovered = record(f"recovery, query of {head}", s2_swapped_pair.recovered(patched_heads("q")[head]), claim)
    assert recovered in claim


@pytest.mark.parametrize("head", BY_OUTPUT, ids=str)
def test_early_heads_recover_part_of_it(head, patched_heads, s2_swapped_pair, published, record):
    """Patching the output of {head} recovers part of the logit difference."""
    claim = published["activation-patching/early-heads"]
    recovered = record(f"recovery, output of {head}", s2_swapped_pair.recovered(patched_heads("z")[head]), claim)
    assert recovered in claim


def test_no_head_outside_the_circuit_recovers_much(patched_heads, s2_swapped_pair, published, record):
    """Control: of all heads outside the circuit, even the one that moves most recovers little."""
    claim = published["activation-patching/other-heads"]
    change = patched_heads("z") - s2_swapped_pair.corrupted.logit_difference(s2_swapped_pair.batch.answers)
    record.head_map("Activation patching, head output", "logit difference recovered", change.mean(-1))
    others = without(patched_heads("z"), CIRCUIT_HEADS)
    most = others[strongest(without(change, CIRCUIT_HEADS).mean(-1))]
    recovered = record("recovery, strongest other head", s2_swapped_pair.recovered(most), claim)
    assert recovered in claim
