"""What the command `circuit-claims` does that `pytest claims/` does not: it is typed in a folder without the claims.

Without a path it asks all claims, a claims file is known by its name, and reports go where the command was typed.
"""

from __future__ import annotations

import shutil
import textwrap
from pathlib import Path

import pytest

from lib.plugin.completeness import CLAIMS_FOLDER, report_folder

COMMAND = "circuit-claims"
HELP = f"""\
usage: {COMMAND} [options] [claims file[::claim] ...]
       {COMMAND} render claims.json page.html
       {COMMAND} compare old.json new.json [--html page.html]
       {COMMAND} find model
       {COMMAND} sweep sweep.toml

Asks every claim, or those of the named files, such as test_weights.py, and writes reports/claims.html and claims.json.
It is pytest: -k "name_movers and 9.9" selects claims by name, -m gpu asks them of GPT-2 small on a GPU, --collect-only
lists them, and `pytest --help` has the rest. Where a message says `pytest claims/`, type {COMMAND}.

options:
"""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.prog = COMMAND  # in the messages about options that it does not know


def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """When pytest would load it: after the installed plugins, before it reads the command line for good."""
    early_config.pluginmanager.import_plugin("conftest")


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> int | None:
    option, folder = config.option, config.rootpath / CLAIMS_FOLDER
    if option.help:
        print(HELP + "\n".join(map(_explained, config._parser.getgroup("claims").options)))
        print(f"\nThe claims and a circuit file as an example (ioi_fixtures/trained) are in {config.rootpath}")
        return pytest.ExitCode.OK
    config.args = [_found(argument, folder) for argument in option.file_or_dir] or [str(folder)]
    option.claims_report = option.claims_report or report_folder(config, config.invocation_params.dir)
    return None


def _found(argument: str, folder: Path) -> str:
    """A claims file or one of its claims, named with or without the folder, as a path; anything else as it is."""
    name, separator, claim = argument.partition("::")
    for path in (folder / name, folder.parent / name):
        if path.exists():
            return f"{path}{separator}{claim}"
    return argument


def _explained(option: object) -> str:
    """An option as pytest keeps it, in words."""
    attributes = option.attrs()
    value = attributes.get("metavar") or "|".join(attributes.get("choices") or ())
    words = textwrap.fill(attributes["help"], shutil.get_terminal_size().columns - 8)
    return "  " + " ".join([*option.names(), value]).rstrip() + "\n" + textwrap.indent(words, " " * 6)
