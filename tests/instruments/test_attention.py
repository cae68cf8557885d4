"""Attention instruments against plain loops, and against the slips they must not make."""

import pytest
import torch

from ioi_fixtures.controls.random_model import prompts, random_model
from lib.instruments.attention import (
    attended_and_written,
    attends_most_to_first,
    attention,
    projection_on_token,
    repeated_token_scores,
    value_weighted_attention,
)
from lib.models.activations import Run
from lib.models.heads import Head
from tests.support.rounding import EQUAL, agree, of_logits

BATCH, POS, LAYERS, HEADS = 3, 6, 2, 4
QUERY, KEY = torch.tensor([5, 4, 3]), torch.tensor([1, 2, 0])


def random_run(tokens=None):
    torch.manual_seed(0)
    tokens = torch.randint(0, 50, (BATCH, POS)) if tokens is None else tokens
    batch, pos = tokens.shape
    causal = torch.ones(pos, pos).tril().bool()
    scores = torch.randn(LAYERS, batch, HEADS, pos, pos, dtype=torch.float64).masked_fill(~causal, -torch.inf)
    activations = {"pattern": scores.softmax(-1), "v": torch.randn(LAYERS, batch, pos, HEADS, 8, dtype=torch.float64)}
    return Run(tokens, torch.full((batch,), pos - 1), torch.zeros(batch, 50), activations)


def test_attention_reads_each_prompt_at_its_own_positions():
    run = random_run()
    measured = attention(run, query=QUERY, key=KEY)
    for layer in range(LAYERS):
        for head in range(HEADS):
            for row in range(BATCH):
                assert measured[layer, head, row] == run["pattern"][layer, row, head, QUERY[row], KEY[row]]


def test_attention_at_one_position_for_all_prompts_is_another_figure():
    run = random_run()
    wrong = run["pattern"][:, :, :, -1, KEY[0]].permute(0, 2, 1)  # positions by -1, as on unpadded prompts
    assert not torch.allclose(attention(run, query=QUERY, key=KEY), wrong)


def test_a_key_after_its_query_is_refused_and_attention_to_oneself_is_not():
    run = random_run()
    assert attention(run, query=QUERY, key=QUERY)[1, 2, 0] == run["pattern"][1, 0, 2, 5, 5]
    with pytest.raises(ValueError, match="prompt 2: key position 4 comes after query position 3"):
        attention(run, query=QUERY, key=torch.tensor([5, 2, 4]))


def test_attending_most_to_the_first_is_decided_for_each_prompt_and_among_the_given_positions():
    run, others = random_run(), [torch.tensor([2, 3, 1]), torch.tensor([0, 1, 2])]
    most = attends_most_to_first(run, query=QUERY, keys=[KEY, *others])
    for layer in range(LAYERS):
        for head in range(HEADS):
            for row in range(BATCH):
                to = run["pattern"][layer, row, head, QUERY[row]]
                assert most[layer, head, row] == all(to[KEY[row]] > to[other[row]] for other in others)
    assert most.any()
    assert not most.all()
    in_the_other_order = attends_most_to_first(run, query=QUERY, keys=[*others, KEY])
    assert not (most & in_the_other_order).any()
    assert not attends_most_to_first(run, query=QUERY, keys=[KEY, KEY]).any()  # as much is not more


def test_value_weighted_attention_is_a_share_and_follows_the_norms():
    run = random_run()
    shares = [value_weighted_attention(run, query=QUERY, key=torch.full((BATCH,), key)) for key in range(4)]
    assert agree(torch.stack(shares)[:, :, :, 2].sum(0), torch.ones(LAYERS, HEADS), EQUAL)  # prompt 2 ends at 3
    run["v"][:, 0, 1] *= 1e4
    assert (value_weighted_attention(run, query=QUERY, key=KEY)[:, :, 0] > 0.99).all()


def test_value_weighted_attention_is_the_definition_and_not_attention_alone():
    run = random_run()
    measured = value_weighted_attention(run, query=QUERY, key=KEY)
    for row in range(BATCH):
        weighted = [
            run["pattern"][1, row, 3, QUERY[row], key] * run["v"][1, row, key, 3].square().sum().sqrt()
            for key in range(POS)
        ]
        assert agree(measured[1, 3, row], weighted[KEY[row]] / sum(weighted), EQUAL)
    assert not torch.allclose(measured, attention(run, query=QUERY, key=KEY), atol=0.05)


def test_repeated_token_scores_against_a_plain_loop():
    tokens = torch.randint(0, 50, (BATCH, 5)).repeat(1, 2)
    run = random_run(tokens)
    scores = repeated_token_scores(run)
    pattern, half = run["pattern"], 5
    for kind, pairs in {
        "previous": [(query, query - 1) for query in range(1, 10)],
        "duplicate": [(query, query - half) for query in range(half, 10)],
        "induction": [(query, query - half + 1) for query in range(half, 10)],
    }.items():
        expected = torch.stack([pattern[..., query, key] for query, key in pairs]).mean(0).permute(0, 2, 1)
        assert agree(getattr(scores, kind), expected, EQUAL), kind


def test_tokens_that_do_not_repeat_are_refused():
    with pytest.raises(ValueError, match="^the second half of every sequence must repeat the first$"):
        repeated_token_scores(random_run())


def test_projection_on_a_token_is_the_heads_output_on_its_unembedding():
    model = random_model(n_layer=3, n_head=2, n_embd=16)
    tokens, last = torch.tensor([[1, 2, 3, 4], [5, 6, 7, 0]]), torch.tensor([3, 2])
    run, weights, head = model.run(tokens, last=last, keep=["z"]), model.weights, Head(2, 1)
    tolerance = of_logits(weights, positions=4)
    measured = projection_on_token(run, weights, torch.tensor([11, 12]))
    assert measured.shape == (3, 2, 2)
    for row, token in enumerate((11, 12)):
        output = run["z"][2, row, last[row], 1] @ weights.W_O[2, 1]
        assert agree(measured[head][row], output @ weights.W_U[:, token], tolerance)
        elsewhere = run["z"][2, row, -1, 1] @ weights.W_O[2, 1] @ weights.W_U[:, token]  # -1 is padding in row 1
        assert (abs(measured[head][row] - elsewhere) > 1e-4) == (row == 1)


def test_attention_to_a_token_is_added_up_over_its_places_and_set_beside_its_projection():
    model, batch = random_model(n_layer=3, n_head=2, n_embd=16, dtype="float32"), prompts(6)
    run, where = batch.run(model), batch.positions
    places, tolerance = [[where["IO"]], [where["S1"], where["S2"]]], of_logits(model.weights, positions=14)
    attended, written = attended_and_written(run, model.weights, tokens=batch.answers.T, places=places)
    assert attended.shape == written.shape == (3, 2, 2, 6)
    for row in range(6):
        pattern = run["pattern"][2, row, 1, run.last[row]]
        output = run["z"][2, row, run.last[row], 1] @ model.weights.W_O[2, 1]
        assert attended[2, 1, 0, row] == pattern[where["IO"][row]]
        assert attended[2, 1, 1, row] == pattern[where["S1"][row]] + pattern[where["S2"][row]]
        for point, token in enumerate(batch.answers[row]):
            assert agree(written[2, 1, point, row], output @ model.weights.W_U[:, token], tolerance)
    first_place_alone, _ = attended_and_written(
        run, model.weights, tokens=batch.answers.T, places=[[where["IO"]], [where["S1"]]]
    )
    assert (first_place_alone[:, :, 1] - attended[:, :, 1]).abs().max() > 0.05
