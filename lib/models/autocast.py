"""torch.autocast is refused: it would compute in another number type than anybody asked for, and say nothing."""

from __future__ import annotations

import torch

from lib.models.config import CannotLoad


def refuse_autocast(device: torch.device) -> None:
    """Raises CannotLoad where torch.autocast would compute in another number type than the weights have."""
    if torch.is_autocast_enabled(device.type):
        raise CannotLoad(
            f"torch.autocast is on for {device.type}, so matrix products would be in "
            f"{torch.get_autocast_dtype(device.type)} whatever number type is asked for: leave it first, and use "
            "--claims-dtype for another number type"
        )
