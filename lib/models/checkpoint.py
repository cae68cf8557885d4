"""A model's files: where they are, what they hold, and whether they can be used. No model is built here.

Layout: the GPT-2 of `transformers`, saved with save_pretrained, with or without the "transformer." prefix. Only
safetensors are read: a pickle runs code.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

PREFIX = "transformer."  # in files saved from a model with a language-modelling head; absent in others
OF_ATTENTION = ("ln_1.weight", "ln_1.bias", "attn.c_attn.weight", "attn.c_attn.bias", "attn.c_proj.weight")
OF_A_LAYER = (
    *OF_ATTENTION,
    "attn.c_proj.bias",
    *(f"ln_2.{kind}" for kind in ("weight", "bias")),
    *(f"mlp.{map_}.{kind}" for map_ in ("c_fc", "c_proj") for kind in ("weight", "bias")),
)


class CannotLoad(ValueError):
    """A model was asked for that cannot be had; the message says what to do."""


class Checkpoint:
    """The tensors stored in a directory, by their names without prefix. Raises CannotLoad for a damaged file."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.config = read_config(directory)
        self.places: dict[str, tuple[Path, str]] = {}
        for path in sorted(directory.glob("*.safetensors")):
            with _opened(path) as file:
                self.places.update({name.removeprefix(PREFIX): (path, name) for name in file.keys()})  # noqa: SIM118

    def missing(self) -> list[str]:
        """Names of the tensors that a whole model needs and the directory lacks, in the model's order."""
        layers = [f"h.{layer}.{name}" for layer in self._layers for name in OF_A_LAYER]
        needed = ["wte.weight", "wpe.weight", *layers, "ln_f.weight", "ln_f.bias"]
        return [name for name in [*needed, *self._unembedding] if name not in self.places]

    def missing_attention(self) -> list[str]:
        """Names of the tensors of attention that the directory lacks."""
        names = (*OF_ATTENTION, "attn.c_proj.bias")
        return [
            f"h.{layer}.{name}" for layer in self._layers for name in names if f"h.{layer}.{name}" not in self.places
        ]

    def read(self, name: str, dtype: torch.dtype) -> Tensor:
        """One stored tensor."""
        path, stored = self.places[name]
        with _opened(path) as file:
            return file.get_tensor(stored).to(dtype)

    def stack(self, name: str, dtype: torch.dtype) -> Tensor:
        """One tensor of every layer, e.g. "ln_1.weight". [layer ...]"""
        return torch.stack([self.read(f"h.{layer}.{name}", dtype) for layer in self._layers])

    def unembedding(self, dtype: torch.dtype) -> Tensor:
        """The matrix that logits are read with, the embedding where the two are tied. [d_vocab d_model]"""
        return self.read(*self._unembedding or ["wte.weight"], dtype)

    def check_finite(self) -> None:
        """Raises CannotLoad, naming the first, where a stored tensor holds NaN or infinity."""
        for name, (path, stored) in self.places.items():
            with _opened(path) as file:
                tensor = file.get_tensor(stored)
            if tensor.is_floating_point() and not tensor.isfinite().all():
                raise CannotLoad(
                    f"{int((~tensor.isfinite()).sum())} of the numbers in {name} ({path}) are NaN or infinite: "
                    "save the weights again, from a model whose training did not diverge"
                )

    @property
    def _layers(self) -> range:
        return range(self.config["n_layer"])

    @cached_property
    def _unembedding(self) -> list[str]:
        return [] if self.config.get("tie_word_embeddings", True) else ["lm_head.weight"]


def locate(source: str | Path) -> Path:
    """The directory that holds a model: `source` itself, or the hub model's snapshot. Raises CannotLoad."""
    directory = Path(source)
    if not directory.is_dir():
        directory = _hub_snapshot(str(source))
    if not (directory / "config.json").is_file():
        raise CannotLoad(f"{directory} has no config.json: give a directory saved with save_pretrained")
    model_type = read_config(directory).get("model_type")
    if model_type != "gpt2":
        raise CannotLoad(f"{directory} holds a {model_type!r} model: the instruments cover model_type 'gpt2' alone")
    if not any(directory.glob("*.safetensors")):
        raise CannotLoad(f"{directory} has no *.safetensors: only safetensors are loaded, save the weights as such")
    return directory


def _hub_snapshot(name: str) -> Path:
    from huggingface_hub import snapshot_download  # imported here: only a hub name needs it

    wanted = ["config.json", "model*.safetensors*", "tokenizer*", "vocab.json", "merges.txt", "special_tokens_map.json"]
    try:
        return Path(snapshot_download(name, allow_patterns=wanted))
    except Exception as error:  # whatever went wrong (no network, no such model, no access), the remedy is the same
        raise CannotLoad(
            f"{name!r} is no directory, and no hub model of that name could be read from the local cache or the "
            f"network ({type(error).__name__}): give a directory with config.json, *.safetensors and a tokenizer, or "
            f"run `hf download {name}` once where there is a network"
        ) from error


def read_config(directory: Path) -> dict:
    """The model's config.json. Raises CannotLoad where that is no JSON."""
    try:
        return json.loads((directory / "config.json").read_text(encoding="utf-8"))
    except ValueError as error:
        raise CannotLoad(f"{directory / 'config.json'} cannot be read ({error}): fetch or save it again") from error


def missing_tensors(directory: Path) -> list[str]:
    """Names of the tensors that a whole model needs and `directory` lacks, in the model's order; empty if none."""
    return Checkpoint(directory).missing()


def hash_weights(directory: Path) -> str:
    """sha256 over name, dtype, shape and bytes of every stored tensor, however they are spread over files."""
    digest = hashlib.sha256()
    for path in sorted(directory.glob("*.safetensors")):
        with _opened(path) as stored:
            for name in sorted(stored.keys()):
                tensor = stored.get_tensor(name)
                digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
                digest.update(tensor.contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


@contextmanager
def _opened(path: Path) -> Iterator[safe_open]:
    try:
        file = safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise CannotLoad(
            f"{path} is damaged or cut short ({error}): fetch or save it again, and compare its size with the original"
        ) from error
    with file:
        yield file
