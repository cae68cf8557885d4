"""`circuit-claims find MODEL`, in a clone `python -m ioi_fixtures.search MODEL`: a circuit file for any model."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ioi_fixtures.pytest_fixtures.subjects import subject
from ioi_fixtures.search.as_toml import as_toml
from ioi_fixtures.search.search import NothingFound
from ioi_fixtures.search.steps import check, find
from lib.files import check_writable, write_whole
from lib.models.config import CannotLoad
from lib.models.model import load


def main(arguments: Sequence[str] | None = None, program: str = "python -m ioi_fixtures.search") -> int:
    """The exit status: 0 where a circuit was written, 1 where there is none, 2 for what cannot be asked."""
    parser = argparse.ArgumentParser(program, description="Finds a model's circuit and writes it as a circuit file.")
    parser.add_argument("model", help="a directory, or a model's name on the hub")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="(default: circuit.toml in the directory)")
    parser.add_argument("--prompts", type=int, default=100, metavar="N", help="to search on (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of them; claims have 0 (default: %(default)s)")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--overwrite", action="store_true", help="replace a circuit file that is there")
    asked = parser.parse_args(arguments)
    if asked.prompts < 25:
        parser.error(f"--prompts {asked.prompts}: at least 25 are needed, or nothing can be said of the task")
    try:
        model = load(subject(asked.model).directory(), name=asked.model, device=asked.device)
        output = asked.output or (Path(asked.model) if Path(asked.model).is_dir() else Path()) / "circuit.toml"
        if output.exists() and not asked.overwrite:
            parser.error(f"{output} is there: name another file with -o, or add --overwrite")
        check_writable(output.parent)
        search = find(model, asked.prompts, asked.seed, lambda line: print(line, file=sys.stderr, flush=True))
        text = as_toml(search, check(search))
    except CannotLoad as error:
        parser.exit(2, f"{asked.model} cannot be searched: {error}\n")
    except NothingFound as error:
        parser.exit(1, f"{error}\n")
    write_whole(output, text)
    print(f"{text}written: {output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
