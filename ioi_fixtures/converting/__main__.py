"""`circuit-claims convert FILE`, in a clone `python -m ioi_fixtures.converting FILE`: a circuit of another tool's."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ioi_fixtures.circuits.circuit_file import read_circuit
from ioi_fixtures.circuits.positions import BEFORE
from ioi_fixtures.converting.graph_files import Graph, read_graph
from ioi_fixtures.converting.heads_of_graph import Converted, convert
from lib.files import check_writable, write_whole

POSITIONS = ", ".join(BEFORE)


def main(arguments: Sequence[str] | None = None, program: str = "python -m ioi_fixtures.converting") -> int:
    """The exit status: 0 where a circuit file was written, 2 for what cannot be converted."""
    parser = argparse.ArgumentParser(
        program,
        description="Writes a circuit file from the JSON of EAP-IG, MIB or auto-circuit, and says what is lost.",
    )
    parser.add_argument("file", type=Path)
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="(default: the file's name with .toml)")
    parser.add_argument(
        "--threshold", type=float, metavar="SCORE", help="heads that send an edge of that score or more"
    )
    parser.add_argument("--heads", type=int, metavar="N", help="the N heads whose edges score most together")
    parser.add_argument("--at", nargs="+", choices=[*BEFORE], default=[*BEFORE], help="where they work (default: all)")
    parser.add_argument(
        "--position",
        action="append",
        default=[],
        metavar="INDEX=NAME",
        help=f"what a position of the file is: {POSITIONS}; may be given more than once",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a circuit file that is there")
    asked = parser.parse_args(arguments)
    if asked.heads is not None and asked.heads < 1:
        parser.error(f"--heads {asked.heads}: at least one")
    output = asked.output or asked.file.with_suffix(".toml")
    if output.exists() and not asked.overwrite:
        parser.error(f"{output} is there: name another file with -o, or add --overwrite")
    try:
        graph = read_graph(asked.file)
        rules = {"fewest": asked.threshold, "most": asked.heads, "at": asked.at}
        found = convert(graph, positions=dict(map(_position, asked.position)), **rules)
        check_writable(output.parent)
    except (OSError, ValueError) as error:
        parser.exit(2, f"{asked.file} cannot be converted: {error}\n")
    text = as_toml(asked.file.name, graph, found)
    write_whole(output, text)
    read_circuit(output)  # what is written is what can be asked
    print(f"{text}written: {output}")
    return 0


def as_toml(name: str, graph: Graph, found: Converted) -> str:
    """A circuit file of the heads, with what was left out as comments."""
    lines = [
        f"# Converted from {name} ({graph.tool}). Heads: {found.rule}.",
        "# Left out:",
        *(f"#   {one}" for one in found.left_out),
        f'model = "{graph.model or "say which"}"',
        f'source = "{graph.tool}, from {name}"',
    ]
    for position, heads in found.heads.items():
        lines += [
            "",
            f'[classes."heads at {position}"]',
            f'heads = "{" ".join(map(str, heads))}"',
            f'at = "{position}"',
        ]
    return "\n".join(lines) + "\n"


def _position(text: str) -> tuple[int, str]:
    index, _, name = text.partition("=")
    if not index.isdigit() or name not in BEFORE:
        raise ValueError(f"--position {text}: write the index and one of {POSITIONS}, as in 14=END")
    return int(index), name


if __name__ == "__main__":
    sys.exit(main())
