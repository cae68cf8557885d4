"""What can be refused of `--claims-model` at once: a path that is mistyped, a directory that holds no model of ours.

The first plugin that conftest.py names, so that it answers before torch and the hooking library are imported, which
takes ten seconds. What it lets pass is looked at again, tensors included, once claims are collected (`selection`).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest

from lib.models.config import CannotLoad, is_path, locate

# Subjects that have a name of their own, and where they are on the hub; those that are built here, under that name.
NAMED = {
    "planted": "planted",
    "tied": "tied",
    "smollm2-135m": "smollm2-135m",
    "gpt2-small": "openai-community/gpt2",
}


def pytest_addoption(pluginmanager: pytest.PytestPluginManager) -> None:
    """The first hook that is called, before the next plugin is imported. The option itself is lib.plugin's."""
    for asked in asked_for(pluginmanager.get_plugin("pytestconfig").invocation_params.args):
        _, source = name_and_source(asked)
        if source not in NAMED and (Path(source).expanduser().is_dir() or is_path(source)):
            try:
                locate(source)
            except CannotLoad as error:
                raise pytest.UsageError(f"{source} cannot be tested: {error}") from error


def name_and_source(asked: str) -> tuple[str, str]:
    """What NAME=SOURCE says. The name is empty where none is given: in what holds no `=` behind a name without a
    slash, or is a path as it stands, such as a folder called step=1000."""
    name, _, source = asked.partition("=")
    given = name and source and "/" not in name and not Path(asked).expanduser().exists()
    return (name, source) if given else ("", asked)


def asked_for(arguments: Sequence[str]) -> list[str]:
    """The models that a command line names."""
    option = "--claims-model"
    following = [value for name, value in pairwise(arguments) if name == option]
    return following + [word.partition("=")[2] for word in arguments if word.startswith(f"{option}=")]
