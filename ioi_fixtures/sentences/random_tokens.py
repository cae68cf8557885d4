"""Sequences of random tokens, repeated: what heads are scored on that look for an earlier place of their token."""

from __future__ import annotations

import torch
from torch import Tensor


def repeated_sequences(vocabulary: int, count: int, length: int, *, seed: int) -> Tensor:
    """`count` sequences of random tokens, each followed by the same again. int64 [count 2*length]

    Within a sequence a token comes again no sooner than all others have come: the head that always finds its token's
    earlier place would else have several to choose from, and score less for a small vocabulary than for a large one.
    """
    generator = torch.Generator().manual_seed(seed)
    rounds = -(-length // vocabulary)

    def sequence() -> Tensor:
        return torch.cat([torch.randperm(vocabulary, generator=generator) for _ in range(rounds)])[:length]

    return torch.stack([sequence() for _ in range(count)]).repeat(1, 2)
