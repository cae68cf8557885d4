"""How much of the suite a session was asked for, read from pytest's command line."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from lib.judging.verdicts import WHOLE_RUNS

CLAIMS_FOLDER = "claims"
# Options that say nothing of what claims are asked of, and options without a value.
OF_RUNS = ("--claims-report", "--claims-baseline", "--claims-update-baseline", "--claims-known-failures")
FLAGS = ("--claims-one-look",)


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


def report_folder(config: pytest.Config, folder: Path) -> Path:
    """Where reports go: `folder`/reports, or a folder in it for a run that leaves claims out, which must not take the
    place of what all of them said."""
    reports = folder / "reports"
    return reports if selection(config) in WHOLE_RUNS else reports / "narrowed"


def options_of_claims(config: pytest.Config) -> list[str]:
    """The command line's options that say what claims are asked of: all of this project's but those about the run."""
    words, found = list(config.invocation_params.args), []
    while words:
        option, _, value = str(words.pop(0)).partition("=")
        if option.startswith("--claims-") and option not in OF_RUNS:
            takes = not value and words and not str(words[0]).startswith("-") and option not in FLAGS
            found += [option, *([value] if value else [str(words.pop(0))] if takes else [])]
    return found


def _from_root(argument: str, path: Path, config: pytest.Config) -> str:
    """The same wherever the session was started: the path from the root, and the test in the file."""
    _, separator, test = argument.partition("::")
    return f"{path.relative_to(config.rootpath).as_posix()}{separator}{test}"


def _asked(config: pytest.Config) -> dict[str, Path]:
    """What the command line names, and the file or folder that each of it lies in."""
    here = config.invocation_params.dir
    return {argument: Path(here, argument.partition("::")[0]).resolve() for argument in config.args}
