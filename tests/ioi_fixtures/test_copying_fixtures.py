"""Of names that stand in prompts several times, every one counts once."""

import torch

from ioi_fixtures.pytest_fixtures.copying_fixtures import by_name
from lib.judging.statistics import share


def test_a_name_that_is_drawn_often_counts_once():
    tokens = torch.tensor([[7, 7, 7, 5], [9, 5, 7, 9]])  # place batch
    hits = torch.zeros(2, 3, 2, 4, dtype=torch.bool)  # layer head place batch
    hits[..., tokens == 7] = True  # copied by every head
    hits[0, 0, 1, 1] = True  # one of its two places, by one of six heads
    torch.testing.assert_close(by_name(hits, tokens), torch.tensor([1 / 12, 1, 0], dtype=torch.float64))
    assert hits.double().mean() > 0.5 > share(by_name(hits, tokens)).value  # of which every second place is the first's
