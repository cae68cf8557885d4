"""The command `circuit-claims`: pytest on the claims beside this file, from any folder.

An installation holds this folder as the package `circuit_claims`; pyproject.toml says what of it. Its modules import
each other from here, as they do in a clone, so this folder goes onto the path of this process and of no other.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

TREE = Path(__file__).resolve().parent
# The settings are those beside this file, where nothing is written. conftest.py is loaded by name, in `any_folder`, and
# not looked for: one of the folder in which somebody types the command is left alone.
PYTEST = (
    "-c",
    str(TREE / "pyproject.toml"),
    "--noconftest",
    "-p",
    "ioi_fixtures.pytest_fixtures.any_folder",
    "-p",
    "no:cacheprovider",
)

# What is no run of the claims, and where it is.
COMMANDS = {
    "render": "lib.reports.render",
    "compare": "lib.reports.compare",
    "find": "ioi_fixtures.search.__main__",
    "convert": "ioi_fixtures.converting.__main__",
    "sweep": "ioi_fixtures.sweep.__main__",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: pytest's, or that of one of COMMANDS."""
    asked = list(sys.argv[1:] if arguments is None else arguments)
    sys.path.insert(0, str(TREE))
    if asked and (command := COMMANDS.get(asked[0])):
        return import_module(command).main(asked[1:], program=f"circuit-claims {asked[0]}")
    import pytest

    return pytest.main([*PYTEST, *asked])


if __name__ == "__main__":
    sys.exit(main())
