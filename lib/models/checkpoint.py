"""The tensors of a model's files: which there are, whether they can be used, and whether they say one thing.

Layout: what `transformers` writes with save_pretrained, with or without the prefix of a model with an unembedding.
Which files and which settings: `config`; which names: `families`. No model is built here.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from lib.models.architecture import architecture_of
from lib.models.config import INDEX, CannotLoad, family_of, read_config, stored_files, weight_map

NORMS = ("norm_1", "norm_2", "norm_final", "post_1", "post_2", "q_norm", "k_norm")
OF_ATTENTION = ("norm_1", "qkv", "q", "k", "v", "o", "post_1")
OF_A_LAYER = (*OF_ATTENTION, "q_norm", "k_norm", "norm_2", "gate", "in", "out", "post_2")
# Constants that used to be stored beside the weights.
OF_NO_USE = (".attn.bias", ".attention.bias", ".masked_bias", ".rotary_emb.inv_freq")
# The sizes of each part's weight: of a linear map in and out, of an embedding its rows and columns.
SIZES_OF: Mapping[str, tuple[str, ...]] = {
    "embed": ("d_vocab", "d_model"),
    "positions": ("n_ctx", "d_model"),
    "head": ("d_vocab", "d_model"),
    **{part: ("d_head",) if part in ("q_norm", "k_norm") else ("d_model",) for part in NORMS},
    "qkv": ("d_model", "3 n_heads d_head"),
    "q": ("d_model", "n_heads d_head"),
    "k": ("d_model", "n_kv_heads d_head"),
    "v": ("d_model", "n_kv_heads d_head"),
    "o": ("n_heads d_head", "d_model"),
    "gate": ("d_model", "d_mlp"),
    "in": ("d_model", "d_mlp"),
    "out": ("d_mlp", "d_model"),
}
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
        self.family = family_of(self.config)
        self.architecture = architecture_of(self.family, self.config)
        self.files = stored_files(directory)
        self.places: dict[str, tuple[Path, str]] = {}
        for path in self.files:
            for stored in names_in(path):
                name = self._plain(stored)
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
        return [
            name
            for part in OF_ATTENTION
            for layer in range(self.architecture.n_layers)
            for name in self._names(part, layer)
            if name not in self.places
        ]

    def read(self, name: str, dtype: torch.dtype) -> Tensor:
        """One stored tensor."""
        path, stored = self.places[name]
        with _opened(path) as file:
            return file.get_tensor(stored).to(dtype)

    def stack(self, name: str, dtype: torch.dtype) -> Tensor:
        """One tensor of every layer, as it is stored, by its name within a layer: "ln_1.weight". [layer ...]"""
        layers = range(self.architecture.n_layers)
        return torch.stack([self.read(f"{self._of_layers}{i}.{name}", dtype) for i in layers])

    def weight(self, part: str, dtype: torch.dtype, layer: int = 0) -> Tensor:
        """The weight of a part of the model: of a linear map [in out], of a norm what it multiplies by, of an embedding
        its rows."""
        weight = self.read(self._names(part, layer)[0], dtype)
        if part in NORMS:
            return weight + self.family.gain_offset
        return weight if self.family.transposed or part in ("embed", "positions") else weight.T

    def bias(self, part: str, dtype: torch.dtype, layer: int = 0) -> Tensor | None:
        """Its bias, if it has one."""
        names = self._names(part, layer)[1:]
        return self.read(names[0], dtype) if names else None

    def unembedding(self, dtype: torch.dtype) -> Tensor:
        """The matrix that logits are read with, the embedding where the two are tied. [d_vocab d_model]"""
        tied = self.config["tie_word_embeddings"]
        return self.read(self._names("embed")[0] if tied else f"{self.family.head}.weight", dtype)

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
                prefixed = self.family.prefix + wanted
                raise CannotLoad(
                    f"{self.directory} holds {found[0]}, where {prefixed} or {wanted} is looked for, as saved "
                    "from something around the model: save the one inside with save_pretrained"
                )
        strangers = [
            name
            for name in self.places
            if name.startswith(self._of_layers) and name not in self._shapes and not name.endswith(OF_NO_USE)
        ]
        if strangers:
            raise CannotLoad(
                f"{_said(*self.places[strangers[0]])} has no place in the model that {self.directory / 'config.json'} "
                f"describes, of {self.architecture.n_layers} layers ({self.family.all_sizes['n_layers']}): correct the "
                "one that is wrong"
            )

    def _check_other_files(self) -> None:
        index = self.directory / INDEX
        for stored, name in weight_map(index).items() if index.is_file() else ():
            place = self.places.get(self._plain(stored))
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
        for name, sizes in self._shapes.items():
            if name not in self.places:
                continue
            path, stored = self.places[name]
            with _opened(path) as file:
                shape = file.get_slice(stored).get_shape()
            expected = [self._size(key) for key in sizes]
            if shape != expected:
                raise CannotLoad(
                    f"{_said(path, stored)} is {shape}, but config.json makes it {expected} "
                    f"({', '.join(map(self._words, sizes))}): correct the one that is wrong"
                )

    def _check_head(self) -> None:
        head = f"{self.family.head}.weight"
        both = head, self._names("embed")[0]
        tied = self.config["tie_word_embeddings"] and all(name in self.places for name in both)
        if tied and not torch.equal(*(self.read(name, torch.float64) for name in both)):
            raise CannotLoad(
                f"{self.directory / 'config.json'} has the embedding and {head} tied (tie_word_embeddings, which "
                f"is true where it is not said), but {_said(*self.places[both[0]])} is another matrix than "
                f"{_said(*self.places[both[1]])}: set tie_word_embeddings to false, or remove {head}"
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

    @property
    def _of_layers(self) -> str:
        """What the names of all tensors of layers begin with."""
        return self.family.parts["norm_1"].partition("{}")[0]

    def _plain(self, stored: str) -> str:
        return stored.removeprefix(self.family.prefix)

    def _names(self, part: str, layer: int = 0) -> list[str]:
        """The names of a part's weight, and of its bias if it has one; none where the model has no such part."""
        place = self.family.head if part == "head" else self.family.parts.get(part, "")
        if not place or (self.family.fused and part in ("q", "k", "v")):
            return []
        kinds = ("weight", "bias") if part in self.family.biases(self.config) else ("weight",)
        return [f"{place.format(layer)}.{kind}" for kind in kinds]

    def _size(self, sizes: str) -> int:
        """A product of sizes of the architecture, such as "n_heads d_head"."""
        return math.prod(
            int(size) if size.isdigit() else getattr(self.architecture, size) for size in sizes.split()
        ) + (self.family.position_offset if sizes == "n_ctx" else 0)

    def _words(self, sizes: str) -> str:
        """The same by the keys that state them."""
        keys = self.family.all_sizes
        if "d_head" not in keys and sizes.endswith("heads d_head"):
            sizes = sizes.replace("n_heads d_head", "d_model")
        words = [keys.get(size, size) for size in sizes.split()]
        return " ".join(words) + (f" + {self.family.position_offset}" if sizes == "n_ctx" else "").replace(" + 0", "")

    @cached_property
    def _shapes(self) -> dict[str, tuple[str, ...]]:
        """Every tensor of a whole model, in its order, and its shape by sizes of the architecture."""
        shapes = {}
        for part in ("embed", "positions"):
            shapes |= self._shapes_of(part)
        for layer in range(self.architecture.n_layers):
            for part in OF_A_LAYER:
                shapes |= self._shapes_of(part, layer)
        shapes |= self._shapes_of("norm_final")
        head = self._shapes_of("head")
        return shapes | (
            {name: head[name] for name in head if not self.config["tie_word_embeddings"] or "bias" in name}
        )

    def _shapes_of(self, part: str, layer: int = 0) -> dict[str, tuple[str, ...]]:
        sizes = SIZES_OF[part]
        linear = len(sizes) == 2 and part not in ("embed", "positions", "head")
        weight = sizes[::-1] if linear and not self.family.transposed else sizes
        out = sizes[0] if part == "head" else sizes[-1]
        names = self._names(part, layer)
        return dict(zip(names, (weight, (out,))[: len(names)], strict=True))


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
