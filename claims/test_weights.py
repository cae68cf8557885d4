"""What the attention weights alone say of the circuit: who writes where whom reads, and whose OV circuit copies.

Composition and OV eigenvalues follow Elhage et al. 2021; nothing is run. Claims that hold wherever the mechanism does
come first, each with its control. GPT-2 small's own figures follow: nobody has published them, so they were measured
once on its released weights and guard the reading and processing of weights from then on.
"""

import pytest

from ioi_fixtures.circuits.circuit import (
    CIRCUIT_HEADS,
    INDUCTION,
    NAME_MOVERS,
    NEGATIVE_NAME_MOVERS,
    PREVIOUS_TOKEN,
    S_INHIBITION,
)
from lib.instruments.composition import lead, mean_of_others, share_led, unrelated
from lib.judging.statistics import exact
from lib.models.heads import Head, heads, select

STRONG_INDUCTION = heads("5.5 6.9")  # 5.8 and 5.9 attend weakly (Wang et al. 2022, App. C)
OUTSIDE = [head for head in (Head(n // 12, n % 12) for n in range(144)) if head not in CIRCUIT_HEADS]

every_strong_induction_head = pytest.mark.parametrize("head", STRONG_INDUCTION, ids=str)
every_name_mover = pytest.mark.parametrize("head", NAME_MOVERS, ids=str)
released_weights = pytest.mark.only_for("gpt2-small", "gpt2-small-partial")


def test_a_previous_token_head_composes_most_with_the_keys_of_both_strong_induction_heads(
    k_composition, published, record
):
    """Of all earlier heads, a previous-token head composes most with the keys of 5.5, and with those of 6.9."""
    claim = published["weights/previous-token-into-induction-keys"]
    margins = [
        record(f"lead at the keys of {head}", exact(lead(k_composition, head, PREVIOUS_TOKEN)), claim)
        for head in STRONG_INDUCTION
    ]
    for margin in margins:  # one alone leads by chance in some models that do nothing
        assert margin in claim


@every_strong_induction_head
def test_no_previous_token_head_composes_most_with_the_queries_of_an_induction_head(
    head, q_composition, published, record
):
    """Control: another head than a previous-token head composes most with the queries of induction head {head}."""
    claim = published["weights/wrong-input"]
    margin = record(f"lead at the queries of {head}", exact(lead(q_composition, head, PREVIOUS_TOKEN)), claim)
    assert margin in claim


def test_previous_token_heads_do_not_lead_at_the_keys_of_other_heads(k_composition, published, record):
    """Control: at the keys of heads outside the circuit, from layer 5 on, a previous-token head rarely leads."""
    claim = published["weights/any-receiver"]
    receivers = [head for head in OUTSIDE if head.layer >= 5]
    led = record("share of other heads led", exact(share_led(k_composition, receivers, PREVIOUS_TOKEN)), claim)
    assert led in claim


@every_strong_induction_head
def test_an_average_head_composes_no_more_than_random_matrices(
    head, attention_weights, k_composition, published, record
):
    """Control: an average head composes with the keys of induction head {head} hardly more than random matrices do."""
    claim = published["weights/random-floor"]
    mean = mean_of_others(k_composition, head, PREVIOUS_TOKEN)
    record.head_map(
        f"Composition with the keys of {head}",
        "Frobenius norms",
        k_composition[: head.layer, :, head.layer, head.index],
    )
    ratio = record(f"other heads into keys of {head}", exact(mean / unrelated(attention_weights)), claim)
    assert ratio in claim


def test_an_s_inhibition_head_composes_most_with_the_queries_of_all_three_name_movers(q_composition, published, record):
    """Of all earlier heads, an S-inhibition head composes most with the queries of 9.9, of 9.6 and of 10.0."""
    claim = published["weights/s-inhibition-into-name-mover-queries"]
    margins = []
    for head in NAME_MOVERS:
        title = f"Composition with the queries of {head}"
        record.head_map(title, "Frobenius norms", q_composition[: head.layer, :, head.layer, head.index])
        ahead = exact(lead(q_composition, head, S_INHIBITION))
        margins.append(record(f"lead at the queries of {head}", ahead, claim))
    for margin in margins:  # one alone leads by chance in some models that do nothing
        assert margin in claim


@every_name_mover
def test_no_s_inhibition_head_composes_most_with_the_keys_of_a_name_mover(head, k_composition, published, record):
    """Control: another head than an S-inhibition head composes most with the keys of name mover {head}."""
    claim = published["weights/wrong-input"]
    margin = record(f"lead at the keys of {head}", exact(lead(k_composition, head, S_INHIBITION)), claim)
    assert margin in claim


def test_s_inhibition_heads_do_not_lead_at_the_queries_of_other_heads(q_composition, published, record):
    """Control: at the queries of heads outside the circuit, from layer 9 on, an S-inhibition head rarely leads."""
    claim = published["weights/any-receiver"]
    receivers = [head for head in OUTSIDE if head.layer >= 9]
    led = record("share of other heads led", exact(share_led(q_composition, receivers, S_INHIBITION)), claim)
    assert led in claim


@released_weights
@pytest.mark.parametrize("head", [*NAME_MOVERS, *NEGATIVE_NAME_MOVERS, *S_INHIBITION, *INDUCTION], ids=str)
def test_the_ov_eigenvalues_of_a_head_are_those_of_the_released_weights(head, ov_eigenvalues, published, record):
    """The eigenvalue score of {head}'s OV circuit is what it is in GPT-2 small's released weights."""
    claim = published[f"weights/ov-eigenvalues-{head}"]
    score = record(f"eigenvalue score of {head}", exact(ov_eigenvalues[head]), claim)
    assert score in claim


@released_weights
def test_ov_eigenvalues_do_not_tell_name_movers_from_negative_ones(ov_eigenvalues, published, record):
    """Name movers have less positive OV eigenvalues than the negative name movers, though they are the ones to copy."""
    claim = published["weights/ov-eigenvalues-of-movers"]
    record.head_map("Eigenvalue score of W_V W_O", "sum of eigenvalues / sum of their sizes", ov_eigenvalues)
    difference = select(ov_eigenvalues, NAME_MOVERS).mean() - select(ov_eigenvalues, NEGATIVE_NAME_MOVERS).mean()
    gap = record("name movers minus negative name movers", exact(difference), claim)
    assert gap in claim


@released_weights
@every_strong_induction_head
def test_4_11_composes_with_an_induction_head_as_in_the_released_weights(head, k_composition, published, record):
    """The composition of 4.11 with {head}'s keys is what it is in GPT-2 small's released weights."""
    claim = published[f"weights/4.11-into-keys-of-{head}"]
    score = record(f"4.11 into keys of {head}", exact(k_composition[(*Head(4, 11), *head)]), claim)
    assert score in claim


@released_weights
@every_name_mover
def test_8_10_composes_with_a_name_mover_as_in_the_released_weights(head, q_composition, published, record):
    """The composition of 8.10 with {head}'s queries is what it is in GPT-2 small's released weights."""
    claim = published[f"weights/8.10-into-queries-of-{head}"]
    score = record(f"8.10 into queries of {head}", exact(q_composition[(*Head(8, 10), *head)]), claim)
    assert score in claim


@released_weights
def test_no_previous_token_head_composes_most_with_the_keys_of_5_9(k_composition, published, record):
    """The weak induction head 5.9 reads no previous-token head: many heads compose more with its keys."""
    claim = published["weights/previous-token-into-keys-of-5.9"]
    margin = record("lead at the keys of 5.9", exact(lead(k_composition, Head(5, 9), PREVIOUS_TOKEN)), claim)
    assert margin in claim
