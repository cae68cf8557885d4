"""Ways to run a model: two classes of TransformerLens, nnsight, and one that uses no hooking library.

A backend has processed weights, runs tokens, and can say what was left behind in it. Whatever it is made of, the same
directory has to give the same figures: that is what the backends are compared for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from lib.models.activations import Edit, Run, Weights
from lib.models.backends.plain import PlainBackend
from lib.models.config import CannotLoad, family_of, read_config
from lib.models.traces import Traces

BACKENDS = ("bridge", "hooked", "plain", "nnsight")
LIBRARIES = {"bridge": "transformer-lens", "hooked": "transformer-lens", "nnsight": "nnsight"}  # that they run on
# With which versions of its library and of transformers every claim was seen to hold, by backend; written with
# docs/evidence/UPGRADES.md.
VERIFIED = Path(__file__).with_name("verified.json")
Verified = Mapping[str, Sequence[Sequence[str]]]


class Backend(Protocol):
    """What a model needs of whatever runs it."""

    weights: Weights

    def run(self, tokens: Tensor, *, last: Tensor, keep: Sequence[str], edits: Sequence[Edit], mask: Tensor) -> Run:
        """One forward pass without gradients; all tensors are on the weights' device. mask: 1 where a token counts."""
        ...

    def traces(self) -> Traces:
        """Hooks, writes and settings, which tell whether the model was touched."""
        ...

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor that it computes with or hands out, by name."""
        ...


def default_backend() -> str:
    """The hooking library's newest class: bridge, from TransformerLens 3 on."""
    return "bridge" if _library_version() >= (3,) else "hooked"


def check_backend(name: str, directory: Path | None = None) -> None:
    """Raises CannotLoad where the installed hooking library has no such class, or none for the model in `directory`."""
    if name not in BACKENDS:
        raise CannotLoad(f"{name!r} is no backend: use one of {', '.join(BACKENDS)}")
    if name == "nnsight" and find_spec("nnsight") is None:
        raise CannotLoad(
            "nnsight is not installed: pip install 'nnsight>=0.5' (our extra [nnsight]), or use another backend"
        )
    installed = _library_version()
    if name == "hooked" and installed >= (4,):
        raise CannotLoad(_lacks("HookedTransformer, which 4.0 removed", "transformer-lens<4", "bridge"))
    if name == "bridge" and installed < (3,):
        raise CannotLoad(_lacks("TransformerBridge, which came with 3.0", "transformer-lens>=3", "hooked"))
    if name == "hooked" and directory and not family_of(config := read_config(directory)).hooked:
        raise CannotLoad(
            f"{directory} holds a {config['model_type']!r} model, and HookedTransformer is built here of GPT-2s alone: "
            "use --claims-backend plain, or bridge with transformer-lens>=3"
        )


def load_backend(name: str, directory: Path, *, device: torch.device, dtype: torch.dtype) -> Backend:
    """The model in `directory`, ready to run. Raises CannotLoad."""
    check_backend(name, directory)
    if name == "plain":
        return PlainBackend.read(directory, device=device, dtype=dtype)
    if name == "nnsight":
        from lib.models.backends.nnsight_traces import NnsightBackend  # imported here: an extra, which may be absent

        return NnsightBackend(directory, device=device, dtype=dtype)
    from lib.models.backends.hooks import HookedBackend  # imported here: the plain backend must run without the library

    return HookedBackend(name, directory, device=device, dtype=dtype)


def unverified(name: str) -> str:
    """What is to be said of a run where every claim was never seen to hold with the installed versions together; empty
    where it was, and where no hooking library runs the model."""
    if name not in LIBRARIES:
        return ""
    known: Verified = json.loads(VERIFIED.read_text(encoding="utf-8"))
    installed = [version(LIBRARIES[name]), version("transformers")]
    if installed in known.get(name, []):
        return ""
    return (
        f"{in_words({name: [installed]})} were not verified together, so that what fails may be theirs: every "
        f"claim was seen to hold with {in_words(known)}"
    )


def in_words(verified: Verified) -> str:
    """Versions that go together, by backend."""
    return ", ".join(
        f"{LIBRARIES[backend]} {library} and transformers {transformers} ({backend})"
        for backend, pairs in verified.items()
        for library, transformers in pairs
    )


def _library_version() -> tuple[int, ...]:
    return tuple(int(part) for part in version("transformer-lens").split(".")[:2])


def _lacks(what: str, requirement: str, other: str) -> str:
    return (
        f"transformer-lens {version('transformer-lens')} has no {what}: pip install '{requirement}', or use "
        f"--claims-backend {other} or plain"
    )
