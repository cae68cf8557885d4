"""How much of the suite a session was asked for, read from pytest's command line."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from lib.judging.verdicts import WHOLE_RUNS

CLAIMS_FOLDER = "claims"
OF_FILES = ("--claims-report", "--claims-baseline", "--claims-update-baseline")
FLAGS = ("--claims-one-look", "--claims-update-baseline")  # options without a value


def claims_are_asked_for(config: pytest.Config) -> bool:
    """Whether the session collects claims of this project."""
    folder = config.rootpath / CLAIMS_FOLDER
    return any(path in (folder, *folder.parents) or folder in path.parents for path in _asked(config).values())


def selection(config: pytest.Config) -> str:
    """How the user narrowed the run to some of the claims, as options and arguments; empty for all of them."""
    option, folder = config.option, config.rootpath / CLAIMS_FOLDER
    flags = [("-m", option.markexpr), ("-k", option.keyword), *(("--deselect", id) for id in option.deselect or [])]
    words = [word for flag, value in flags if value for word in (flag, value)]
    words += ["--last-failed"] if config.getoption("lf", False) else []
    asked = _asked(config)
    if not any(path in (folder, *folder.parents) for path in asked.values()):
        words += [argument for argument, path in asked.items() if folder in path.parents]
    return shlex.join(words)


def narrowed(config: pytest.Config) -> bool:
    """Whether some claims were left out; those that need a GPU are all there are with -m gpu."""
    return selection(config) not in WHOLE_RUNS


def options_of_claims(config: pytest.Config) -> list[str]:
    """The command line's options that say what claims are asked of: all of this project's but those for its files."""
    words, found = list(config.invocation_params.args), []
    while words:
        option, _, value = str(words.pop(0)).partition("=")
        if option.startswith("--claims-") and option not in OF_FILES:
            takes = not value and words and not str(words[0]).startswith("-") and option not in FLAGS
            found += [option, *([value] if value else [str(words.pop(0))] if takes else [])]
    return found


def _asked(config: pytest.Config) -> dict[str, Path]:
    """What the command line names, and the file or folder that each of it lies in."""
    here = config.invocation_params.dir
    return {argument: Path(here, argument.partition("::")[0]).resolve() for argument in config.args}
