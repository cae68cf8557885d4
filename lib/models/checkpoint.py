"""The tensors of a model's files: which there are, whether they can be used, and whether they say one thing.

Layout: the GPT-2 of `transformers`, saved with save_pretrained, with or without the "transformer." prefix. Which files
and which settings: `config`. No model is built here.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from lib.models.config import INDEX, CannotLoad, read_config, stored_files, weight_map

PREFIX = "transformer."  # in files saved from a model with a language-modelling head; absent in others
HEAD = "lm_head.weight"
# Each tensor of the model, and its shape by keys of config.json.
OF_ATTENTION = {
    "ln_1.weight": ["n_embd"],
    "ln_1.bias": ["n_embd"],
    "attn.c_attn.weight": ["n_embd", "3 n_embd"],
    "attn.c_attn.bias": ["3 n_embd"],
    "attn.c_proj.weight": ["n_embd", "n_embd"],
    "attn.c_proj.bias": ["n_embd"],
}
OF_A_LAYER = {
    **OF_ATTENTION,
    "ln_2.weight": ["n_embd"],
    "ln_2.bias": ["n_embd"],
    "mlp.c_fc.weight": ["n_embd", "n_inner"],
    "mlp.c_fc.bias": ["n_inner"],
    "mlp.c_proj.weight": ["n_inner", "n_embd"],
    "mlp.c_proj.bias": ["n_embd"],
}
BEFORE = {"wte.weight": ["vocab_size", "n_embd"], "wpe.weight": ["n_positions", "n_embd"]}
AFTER = {"ln_f.weight": ["n_embd"], "ln_f.bias": ["n_embd"]}
# What a wrapped model was saved from, by what the wrapper adds to the names of tensors, and how to save what is inside.
WRAPPERS = {
    "lora_": ("a model with a PEFT adapter", "merge_and_unload(), and save the result"),
    "base_layer.": ("a model with a PEFT adapter", "merge_and_unload(), and save the result"),
    "base_model.model.": ("a PEFT model", "merge_and_unload(), and save the result"),
    "_orig_mod.": ("a model that torch.compile made", "save the one inside (model._orig_mod)"),
    "_fsdp_wrapped_module.": ("a model in FSDP", "save its full state dict"),
    "module.": ("a model in DataParallel or DistributedDataParallel", "save the one inside (model.module)"),
}


class Checkpoint:
    """The tensors stored in a directory, by their names without prefix. Raises CannotLoad for a damaged file, and
    where a tensor is there twice."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.config = read_config(directory)
        self.files = stored_files(directory)
        self.places: dict[str, tuple[Path, str]] = {}
        for path in self.files:
            for stored in names_in(path):
                name = stored.removeprefix(PREFIX)
                if name in self.places:
                    raise CannotLoad(
                        f"{name} is stored twice, as {_said(*self.places[name])} and as {_said(path, stored)}: remove "
                        "the one that is not meant"
                    )
                self.places[name] = path, stored

    def missing(self) -> list[str]:
        """Names of the tensors that a whole model needs and the directory lacks, in the model's order."""
        return [name for name in self._shapes if name not in self.places]

    def missing_attention(self) -> list[str]:
        """Names of the tensors of attention that the directory lacks."""
        names = (f"h.{layer}.{name}" for layer in self._layers for name in OF_ATTENTION)
        return [name for name in names if name not in self.places]

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
        return self.read("wte.weight" if self.config["tie_word_embeddings"] else HEAD, dtype)

    def check(self) -> None:
        """Raises CannotLoad, naming what is wrong, where the files do not say one thing: names of a wrapped model,
        tensors in another file or of another shape than stated, a second unembedding, a number that is none."""
        self._check_names()
        self._check_other_files()
        self._check_shapes()
        self._check_finite()
        self._check_head()

    def _check_names(self) -> None:
        for mark, (saved_from, remedy) in WRAPPERS.items():
            marked = [stored for _, stored in self.places.values() if re.search(rf"(^|\.){re.escape(mark)}", stored)]
            if marked:
                raise CannotLoad(
                    f"{len(marked)} tensors in {self.directory} have {mark!r} in their names ({marked[0]}), as saved "
                    f"from {saved_from}: {remedy} with save_pretrained"
                )
        for wanted in self.missing():
            found = [stored for _, stored in self.places.values() if stored.endswith(f".{wanted}")]
            if found:
                raise CannotLoad(
                    f"{self.directory} holds {found[0]}, where {PREFIX}{wanted} or {wanted} is looked for, as saved "
                    "from something around the model: save the one inside with save_pretrained"
                )
        strangers = [name for name in self.places if _is_of_no_use(name, self._shapes)]
        if strangers:
            raise CannotLoad(
                f"{_said(*self.places[strangers[0]])} has no place in the model that {self.directory / 'config.json'} "
                f"describes, of {len(self._layers)} layers (n_layer): correct the one that is wrong"
            )

    def _check_other_files(self) -> None:
        index = self.directory / INDEX
        for stored, name in weight_map(index).items() if index.is_file() else ():
            place = self.places.get(stored.removeprefix(PREFIX))
            if place is None or place[0].name != name:
                raise CannotLoad(
                    f"{index} says that {stored} is in {name}, which does not hold it: fetch or save the model again"
                )
        ours = tuple(f".{name}" for name in self._shapes)
        for path in sorted(set(self.directory.glob("*.safetensors")) - set(self.files)):
            others = [stored for stored in names_in(path) if f".{stored}".endswith(ours)]
            if others:
                raise CannotLoad(
                    f"{path} holds {len(others)} tensors of the model as well ({others[0]}), while what is loaded is "
                    f"{', '.join(file.name for file in self.files)}: keep the weights that are meant and move the "
                    "others elsewhere"
                )

    def _check_shapes(self) -> None:
        for name, keys in self._shapes.items():
            if name not in self.places:
                continue
            path, stored = self.places[name]
            with _opened(path) as file:
                shape = file.get_slice(stored).get_shape()
            expected = [self._size(key) for key in keys]
            if shape != expected:
                raise CannotLoad(
                    f"{_said(path, stored)} is {shape}, but config.json makes it {expected} ({', '.join(keys)}): "
                    "correct the one that is wrong"
                )

    def _check_head(self) -> None:
        tied = self.config["tie_word_embeddings"] and HEAD in self.places and "wte.weight" in self.places
        if tied and not torch.equal(*(self.read(name, torch.float64) for name in (HEAD, "wte.weight"))):
            raise CannotLoad(
                f"{self.directory / 'config.json'} has the embedding and {HEAD} tied (tie_word_embeddings, which is "
                f"true where it is not said), but {_said(*self.places[HEAD])} is another matrix than "
                f"{_said(*self.places['wte.weight'])}: set tie_word_embeddings to false, or remove {HEAD}"
            )

    def _check_finite(self) -> None:
        for name, (path, stored) in self.places.items():
            with _opened(path) as file:
                tensor = file.get_tensor(stored)
            if tensor.is_floating_point() and not tensor.isfinite().all():
                raise CannotLoad(
                    f"{int((~tensor.isfinite()).sum())} of the numbers in {name} ({path}) are NaN or infinite: "
                    "save the weights again, from a model whose training did not diverge"
                )

    def _size(self, key: str) -> int:
        if key == "3 n_embd":
            return 3 * self.config["n_embd"]
        return self.config[key] or 4 * self.config["n_embd"]  # n_inner may be null

    @property
    def _layers(self) -> range:
        return range(self.config["n_layer"])

    @cached_property
    def _shapes(self) -> dict[str, list[str]]:
        """Every tensor of a whole model, in its order, and its shape by keys of config.json."""
        layers = {f"h.{layer}.{name}": shape for layer in self._layers for name, shape in OF_A_LAYER.items()}
        head = {} if self.config["tie_word_embeddings"] else {HEAD: BEFORE["wte.weight"]}
        return {**BEFORE, **layers, **AFTER, **head}


def missing_tensors(directory: Path) -> list[str]:
    """Names of the tensors that a whole model needs and `directory` lacks, in the model's order; empty if none."""
    return Checkpoint(directory).missing()


def hash_weights(directory: Path) -> str:
    """sha256 over name, dtype, shape and bytes of every tensor that is loaded, however they are spread over files."""
    digest = hashlib.sha256()
    for stored, path in sorted((stored, path) for path, stored in Checkpoint(directory).places.values()):
        with _opened(path) as file:
            tensor = file.get_tensor(stored)
        digest.update(f"{stored} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def names_in(path: Path) -> list[str]:
    """The names under which a file holds tensors. Raises CannotLoad where it is damaged."""
    with _opened(path) as file:
        return list(file.keys())


def _is_of_no_use(name: str, shapes: Mapping[str, object]) -> bool:
    """Whether a tensor is one of a layer, and of none that the model has. Masks used to be stored as well."""
    return name.startswith("h.") and name not in shapes and not name.endswith((".attn.bias", ".attn.masked_bias"))


def _said(path: Path, stored: str) -> str:
    return f"{stored} in {path}"


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
