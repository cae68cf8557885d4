"""Subjects: the models under test, by name.

`planted` is built on the spot and needs nothing; `gpt2-small` is the real model, from the hub or its local cache; any
other name is a directory or a hub model of the same architecture.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ioi_fixtures import planted
from ioi_fixtures.circuit import CIRCUIT_HEADS
from lib.checkpoint import CannotLoad, locate, read_config


@dataclass(frozen=True)
class Subject:
    """A model that can be asked for. `source` says where it comes from; empty for the reference model, built here."""

    name: str
    source: str = ""

    def directory(self) -> Path:
        """Where its files are, built or fetched if need be. Raises CannotLoad, also for a model too small to hold the
        circuit's heads."""
        directory = locate(self.source) if self.source else _planted()
        config = read_config(directory)
        missing = [head for head in CIRCUIT_HEADS if head.layer >= config["n_layer"] or head.index >= config["n_head"]]
        if missing:
            raise CannotLoad(
                f"{self.name} has {config['n_layer']} layers of {config['n_head']} heads, so it has no head "
                f"{max(missing)}: the claims name heads of a model with at least 12 layers of 12 heads"
            )
        return directory

    def __str__(self) -> str:
        return self.name


def _planted() -> Path:
    try:
        return planted.directory()
    except OSError as error:
        raise CannotLoad(
            f"the reference model cannot be kept in its cache folder ({error}): set XDG_CACHE_HOME to a folder that "
            "can be written to"
        ) from error


PLANTED = Subject("planted")
GPT2_SMALL = Subject("gpt2-small", source="openai-community/gpt2")


def subject(name: str) -> Subject:
    """The subject that `--claims-model name` asks for."""
    known = {subject.name: subject for subject in (PLANTED, GPT2_SMALL)}
    if name in known:
        return known[name]
    path = Path(name)
    return Subject(path.resolve().name, source=str(path.resolve())) if path.is_dir() else Subject(name, source=name)
