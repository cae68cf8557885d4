"""`circuit-claims sweep SWEEP.toml`, in a clone `python -m ioi_fixtures.sweep SWEEP.toml`: claims of many models."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from ioi_fixtures.circuits.library import path_of
from ioi_fixtures.pytest_fixtures.model_option import NAMED
from lib.sweep import command
from lib.sweep.command import Given

# Figures worth a curve, and what they are judged against: of GPT-2 small's circuit, or of a circuit file.
CURVES: Mapping[str, Sequence[str]] = MappingProxyType(
    {
        "Logit difference": ("behaviour/logit-difference", "circuit-file/logit-difference"),
        "Accuracy": ("behaviour/accuracy",),
        "Faithfulness, F(C) / F(M)": ("circuit/faithfulness", "circuit-file/faithfulness"),
        "Attention beyond the average head's": ("circuit-file/attention",),
        "Attention of name movers to IO": ("name-movers/attention-to-io",),
        "Attention of S-inhibition heads to S2": ("s-inhibition/attention-to-s2",),
        "Copy score": ("circuit-file/copies",),
        "Copy score of name movers": ("name-movers/copy-score",),
        "Score on random tokens": ("circuit-file/score",),
        "Attribution of the class / logit difference": ("circuit-file/class-writes",),
    }
)
BUILT = [name for name, source in NAMED.items() if "/" not in source]


def main(arguments: Sequence[str] | None = None, program: str = "python -m ioi_fixtures.sweep") -> int:
    """The exit status: see lib/sweep/command.py."""
    return command.main(arguments, Given(BUILT, path_of, CURVES), program=program)


if __name__ == "__main__":
    sys.exit(main())
