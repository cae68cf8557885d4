"""How much of the suite a session was asked for, read from pytest's command line."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

CLAIMS_FOLDER = "claims"


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
        words += [_from_root(argument, path, config) for argument, path in asked.items() if folder in path.parents]
    return shlex.join(words)


def _from_root(argument: str, path: Path, config: pytest.Config) -> str:
    """The same wherever the session was started: the path from the root, and the test in the file."""
    _, separator, test = argument.partition("::")
    return f"{path.relative_to(config.rootpath).as_posix()}{separator}{test}"


def _asked(config: pytest.Config) -> dict[str, Path]:
    """What the command line names, and the file or folder that each of it lies in."""
    here = config.invocation_params.dir
    return {argument: Path(here, argument.partition("::")[0]).resolve() for argument in config.args}
