"""Random sequences give every head the score it deserves, whatever the vocabulary."""

import pytest
import torch

from ioi_fixtures.sentences.random_tokens import repeated_sequences
from lib.instruments.attention import repeated_token_scores
from lib.models.activations import Run

LENGTH = 50


def of_a_perfect_duplicate_token_head(tokens):
    """Its score: from each token it attends alike to all earlier places of that token, or else to the first token."""
    earlier = torch.ones(tokens.shape[1], tokens.shape[1]).tril(-1)
    same = (tokens[:, :, None] == tokens[:, None, :]) * earlier
    same[..., 0] += (same.sum(-1) == 0).float()
    pattern = (same / same.sum(-1, keepdim=True))[None, :, None]  # layer batch head query key
    last = torch.full((len(tokens),), tokens.shape[1] - 1)
    return repeated_token_scores(Run(tokens, last, torch.zeros(len(tokens), 1), {"pattern": pattern})).duplicate.mean()


@pytest.mark.parametrize("vocabulary", [LENGTH, 300, 50257])
def test_a_perfect_duplicate_token_head_scores_one(vocabulary):
    tokens = repeated_sequences(vocabulary, 20, LENGTH, seed=0)
    assert tokens.shape == (20, 2 * LENGTH)
    assert of_a_perfect_duplicate_token_head(tokens) == 1
    assert all(len(set(row.tolist())) == LENGTH for row in tokens)


def test_with_replacement_it_would_score_less_for_a_small_vocabulary():
    """The control: what a vocabulary of 300 did to the score."""
    tokens = torch.randint(300, (20, LENGTH), generator=torch.Generator().manual_seed(0)).repeat(1, 2)
    assert of_a_perfect_duplicate_token_head(tokens) < 0.95


def test_a_vocabulary_that_is_too_small_is_used_up_before_a_token_comes_again():
    tokens = repeated_sequences(20, 5, LENGTH, seed=0)
    assert all(sorted(row[:20].tolist()) == list(range(20)) for row in tokens)
    assert set(tokens.flatten().tolist()) == set(range(20))


def test_the_seed_decides():
    first, same, other = (repeated_sequences(300, 3, LENGTH, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
