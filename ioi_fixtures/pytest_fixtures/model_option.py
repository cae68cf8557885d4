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

# Subjects that have a name of their own, and where they are on the hub; those that are nowhere are built here.
NAMED = {"planted": "", "tied": "", "gpt2-small": "openai-community/gpt2"}


def pytest_addoption(pluginmanager: pytest.PytestPluginManager) -> None:
    """The first hook that is called, before the next plugin is imported. The option itself is lib.plugin's."""
    for name in asked_for(pluginmanager.get_plugin("pytestconfig").invocation_params.args):
        if name not in NAMED and (Path(name).expanduser().is_dir() or is_path(name)):
            try:
                locate(name)
            except CannotLoad as error:
                raise pytest.UsageError(f"{name} cannot be tested: {error}") from error


def asked_for(arguments: Sequence[str]) -> list[str]:
    """The models that a command line names."""
    option = "--claims-model"
    following = [value for name, value in pairwise(arguments) if name == option]
    return following + [word.partition("=")[2] for word in arguments if word.startswith(f"{option}=")]
