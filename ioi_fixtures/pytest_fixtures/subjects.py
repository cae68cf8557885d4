"""Subjects: the models under test, by name.

`planted` and `tied` are built on the spot and need nothing; `smollm2-135m` is built from a wheel; `gpt2-small` is the
real model, from the hub or its local cache; any other name is a directory or a hub model, which NAME=SOURCE calls by
another name.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from ioi_fixtures import planted, smollm2
from ioi_fixtures.circuits.circuit import CIRCUIT_HEADS
from ioi_fixtures.pytest_fixtures.model_option import NAMED, name_and_source
from ioi_fixtures.trained import tied
from lib.models.config import CannotLoad, family_of, locate, read_config
from lib.models.families import FAMILIES
from lib.models.heads import Head
from lib.one_line import counted


@dataclass(frozen=True)
class Subject:
    """A model that can be asked for. `source` says where it comes from: a directory, the hub, or what BUILT builds.
    `about` says what it is. `heads` are those that a circuit file names: it has to have them."""

    name: str
    source: str
    about: str = ""
    heads: tuple[Head, ...] = ()

    def directory(self) -> Path:
        """Where its files are, built or fetched if need be. Raises CannotLoad, also for a model without the heads
        that a circuit file names."""
        directory = _built(self.source) if self.source in BUILT else locate(self.source)
        layers, heads = self._shape(read_config(directory))
        missing = [head for head in self.heads if head.layer >= layers or head.index >= heads]
        if missing:
            shape = f"{counted(layers, 'layer')} of {counted(heads, 'head')}"
            near = Head(min(max(missing).layer, layers - 1), min(max(missing).index, heads - 1))
            raise CannotLoad(
                f"{self.name} has {shape}, so it has no head {max(missing)}, which the circuit file names: the nearest "
                f"is {near}"
            )
        return directory

    def is_shaped_like_gpt2(self) -> bool:
        """Whether the claims that name GPT-2 small's heads can be asked of it: a GPT-2 that has all of them."""
        config = read_config(self.directory())
        layers, heads = self._shape(config)
        has_all = all(head.layer < layers and head.index < heads for head in CIRCUIT_HEADS)
        return family_of(config) is FAMILIES["gpt2"] and has_all

    @staticmethod
    def _shape(config: dict) -> tuple[int, int]:
        """Layers, and heads in each."""
        sizes = family_of(config).all_sizes
        return config[sizes["n_layers"]], config[sizes["n_heads"]]

    def __str__(self) -> str:
        return self.name


def _built(name: str) -> Path:
    try:
        return BUILT[name]()
    except OSError as error:
        raise CannotLoad(
            f"the model {name} cannot be kept in its cache folder ({error}): set XDG_CACHE_HOME to a folder that "
            "can be written to"
        ) from error


ABOUT = {
    "planted": "weights constructed so that the claims are true of them: this run tests the instruments and the "
    "library, not GPT-2",
    "tied": "a small model trained on such sentences, stored as GPT-2 is: this run tests the library, not GPT-2",
    "smollm2-135m": "SmolLM2-135M-Instruct in 4 bits a weight: a language model trained on text, into which nobody "
    "has put a circuit; the one that is claimed was found by this suite",
    "gpt2-small": "GPT-2 small itself, the model that the claims were published of",
}
KNOWN = {name: Subject(name, source=source, about=ABOUT[name]) for name, source in NAMED.items()}
BUILT = {"planted": planted.directory, "tied": tied.directory, smollm2.NAME: smollm2.directory}
PLANTED, GPT2_SMALL = KNOWN["planted"], KNOWN["gpt2-small"]


def subject(asked: str) -> Subject:
    """The subject that `--claims-model asked` asks for."""
    name, source = name_and_source(asked)
    if name:
        return replace(subject(source), name=name)
    if source in KNOWN:
        return KNOWN[source]
    path = Path(source).expanduser()
    return Subject(path.resolve().name, source=str(path.resolve())) if path.is_dir() else Subject(source, source=source)
