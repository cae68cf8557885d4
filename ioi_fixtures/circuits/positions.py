"""The positions of a prompt at which heads work."""

from collections.abc import Mapping
from types import MappingProxyType

# Each with those that stand before it in every prompt, whichever order the names come in.
BEFORE: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "IO": (),
        "S1": (),
        "S1+1": ("S1",),
        "S2": ("IO", "S1", "S1+1"),
        "END": ("IO", "S1", "S1+1", "S2"),
    }
)
