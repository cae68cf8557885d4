"""The command `circuit-claims`: pytest on the claims beside this file, from any folder.

An installation holds this folder as the package `circuit_claims`; pyproject.toml says what of it. Its modules import
each other from here, as they do in a clone, so this folder goes onto the path of this process and of no other.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
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


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: pytest's, or that of `render`, `compare` and `find`."""
    asked = list(sys.argv[1:] if arguments is None else arguments)
    sys.path.insert(0, str(TREE))
    if asked[:1] == ["render"]:
        from lib.reports import render

        return render.main(asked[1:], program="circuit-claims render")
    if asked[:1] == ["compare"]:
        from lib.reports import compare

        return compare.main(asked[1:], program="circuit-claims compare")
    if asked[:1] == ["find"]:
        from ioi_fixtures.search import __main__ as search

        return search.main(asked[1:], program="circuit-claims find")
    import pytest

    return pytest.main([*PYTEST, *asked])


if __name__ == "__main__":
    sys.exit(main())
