"""mutmut on some files, with the tests nearest to them: `python -m benchmarks.pages.nearby FILE... -- run MUTANT...`.

mutmut makes the mutants of all files and runs all tests once before it tries any, whichever are asked for; with the
files and tests that matter, a few mutants take a minute instead of five. Settings are otherwise pyproject.toml's.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

from mutmut import config
from mutmut.__main__ import cli


def nearest(files: Sequence[str], tests: Sequence[str]) -> list[str]:
    """Those test files that are called like one of the files or import it; all where a file has none.

    files: paths such as lib/instruments/copying.py. tests: paths of test files.
    """
    near = {file: [test for test in tests if _is_near(file, Path(test))] for file in files}
    return [test for test in tests if any(test in some for some in near.values())] if all(near.values()) else [*tests]


def _is_near(file: str, test: Path) -> bool:
    folder, _, name = file.removesuffix(".py").replace("/", ".").rpartition(".")
    imports = rf"^(from {folder}\.{name} import|from {folder} import .*\b{name}\b|import {folder}\.{name}\b)"
    return test.name == f"test_{name}.py" or bool(re.search(imports, test.read_text(encoding="utf-8"), re.MULTILINE))


def main() -> None:
    """Runs mutmut with what follows `--`."""
    division = sys.argv.index("--")
    files, sys.argv[1:] = sys.argv[1:division], sys.argv[division + 1 :]
    selection = config().pytest_add_cli_args_test_selection
    tests = [one for one in selection if one.endswith(".py")]
    near = nearest(files, tests)
    print(f"  with the tests in {', '.join(near)}", flush=True)
    config().only_mutate = files
    config().pytest_add_cli_args_test_selection = [*near, *(one for one in selection if one not in tests)]
    cli()


if __name__ == "__main__":
    main()
