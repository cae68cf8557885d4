"""The same weights in a model that computes something else."""

from dataclasses import replace


def other_architecture(weights, **changes):
    """The weights, their architecture changed where told."""
    return replace(weights, architecture=replace(weights.architecture, **changes))
