"""Heads at named positions: what a circuit keeps, or what a knock-out takes away."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from lib.models.activations import Weights
from lib.models.heads import Head

HeadsAt = Mapping[Head, str | tuple[str, ...]]  # a head, and the name or names of the positions where it is meant
Place = tuple[Head, str]


def places(heads: HeadsAt) -> frozenset[Place]:
    """(head, position name) for each position of each head."""
    names = {head: (where,) if isinstance(where, str) else where for head, where in heads.items()}
    return frozenset((head, name) for head in heads for name in names[head])


def check_places(sets: Sequence[HeadsAt], weights: Weights, positions: Mapping[str, Tensor], last: Tensor) -> None:
    """Raises ValueError for a head the model lacks, a position that is not given, or one outside its prompt."""
    for head, name in sorted(frozenset().union(*map(places, sets))):
        check_head(head, weights)
        if name not in positions:
            raise ValueError(f"head {head} is given at {name!r}, but the positions are {', '.join(positions)}")
        check_position(name, positions[name], last)


def check_head(head: Head, weights: Weights, *, shared: bool = False) -> None:
    """Raises ValueError where the model has no such head; shared: among those that keys and values have."""
    n_heads = weights.architecture.n_kv_heads if shared else weights.n_heads
    if not (0 <= head[0] < weights.n_layers and 0 <= head[1] < n_heads):
        kind = "key/value heads" if shared and n_heads != weights.n_heads else "heads"
        raise ValueError(
            f"there is no head {head[0]}.{head[1]}: the model has layers 0-{weights.n_layers - 1} of {kind} "
            f"0-{n_heads - 1}"
        )


def check_position(name: str, position: Tensor, last: Tensor) -> None:
    """Raises ValueError where `position` [batch] is not a real token of every prompt, as `last` [batch] ends them."""
    if position.shape != last.shape:
        raise ValueError(
            f"position {name!r} has shape {tuple(position.shape)}, but there are {len(last)} prompts: "
            "give one position a prompt"
        )
    outside = (position < 0) | (position > last)
    if bool(outside.any()):
        row = int(outside.nonzero()[0])
        raise ValueError(
            f"position {name!r} of prompt {row} is {int(position[row])}, outside the prompt, "
            f"which ends at {int(last[row])}"
        )
