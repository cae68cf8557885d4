"""Attention weights of a checkpoint, read and processed without a model: enough for claims that run nothing.

A checkpoint may hold attention alone (no embedding, no MLP matrices), which no library loads. Processing is that of
`model.load`, step by step: LayerNorm's gain and bias folded into what reads the residual stream and centred, what
writes to it centred, value biases folded into b_O (TransformerLens 4.3, enable_compatibility_mode). Layout: the GPT-2
of `transformers`, whose linear maps are stored [in out], with or without the "transformer." prefix.
Out of scope: everything outside attention, and other architectures.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import torch
from einops import einsum, rearrange
from safetensors import safe_open
from torch import Tensor

from lib.activations import Weights
from lib.model import CannotLoad, read_config

PREFIX = "transformer."  # in files saved from a model with a language-modelling head; absent in others
OF_ATTENTION = ("ln_1.weight", "ln_1.bias", "attn.c_attn.weight", "attn.c_attn.bias", "attn.c_proj.weight")
OF_A_LAYER = (
    *OF_ATTENTION,
    "attn.c_proj.bias",
    *(f"ln_2.{kind}" for kind in ("weight", "bias")),
    *(f"mlp.{map_}.{kind}" for map_ in ("c_fc", "c_proj") for kind in ("weight", "bias")),
)


@dataclass(frozen=True, eq=False)
class AttentionWeights:
    """The attention part of `Weights`, under the same names, processed in the same way."""

    W_Q: Tensor  # layer head d_model d_head
    W_K: Tensor
    W_V: Tensor
    W_O: Tensor  # layer head d_head d_model
    b_Q: Tensor  # layer head d_head
    b_K: Tensor
    b_V: Tensor
    b_O: Tensor  # layer d_model

    @classmethod
    def of(cls, weights: Weights) -> AttentionWeights:
        """Those of a loaded model; the tensors are shared, not copied."""
        return cls(**{field.name: getattr(weights, field.name) for field in fields(cls)})

    def to(self, device: torch.device) -> AttentionWeights:
        """The same weights on `device`."""
        return AttentionWeights(**{field.name: getattr(self, field.name).to(device) for field in fields(self)})

    def __repr__(self) -> str:
        n_layers, n_heads, d_model, _ = self.W_Q.shape
        return f"<AttentionWeights: {n_layers} layers x {n_heads} heads, d_model {d_model}>"


def missing_tensors(directory: Path) -> list[str]:
    """Names of the tensors that a whole model needs and `directory` lacks, in the model's order; empty if none."""
    config, stored = read_config(directory), _stored(directory)
    layers = [f"h.{layer}.{name}" for layer in range(config["n_layer"]) for name in OF_A_LAYER]
    needed = ["wte.weight", "wpe.weight", *layers, "ln_f.weight", "ln_f.bias"]
    if not config.get("tie_word_embeddings", True):
        needed.append("lm_head.weight")
    return [name for name in needed if name not in stored]


def read_attention_weights(directory: Path, *, dtype: torch.dtype = torch.float32) -> AttentionWeights:
    """The processed attention weights of a checkpoint, computed in `dtype` whatever it is stored in.

    Raises CannotLoad where a tensor of attention itself is missing.
    """
    config, stored = read_config(directory), _stored(directory)
    layers = range(config["n_layer"])
    needed = [f"h.{layer}.{name}" for layer in layers for name in (*OF_ATTENTION, "attn.c_proj.bias")]
    absent = [name for name in needed if name not in stored]
    if absent:
        raise CannotLoad(
            f"{directory} lacks {len(absent)} attention tensors, {absent[0]} first: save the checkpoint with "
            "every layer's ln_1 and attn"
        )

    def stack(name: str) -> Tensor:
        return torch.stack([_read(stored[f"h.{layer}.{name}"]).to(dtype) for layer in layers])

    gain, bias = stack("ln_1.weight"), stack("ln_1.bias")  # layer d_model
    read, write = stack("attn.c_attn.weight"), stack("attn.c_proj.weight")  # layer in out
    b_read = stack("attn.c_attn.bias") + einsum(bias, read, "layer d_model, layer d_model out -> layer out")
    read = read * gain[:, :, None]
    read = read - read.mean(1, keepdim=True)  # LayerNorm's output has mean zero, so this changes nothing it reads
    write = write - write.mean(-1, keepdim=True)  # LayerNorm subtracts this mean from whatever is written
    b_write = stack("attn.c_proj.bias")

    n_heads = config["n_head"]
    W_Q, W_K, W_V = rearrange(read, "layer m (qkv head h) -> qkv layer head m h", qkv=3, head=n_heads)
    b_Q, b_K, b_V = rearrange(b_read, "layer (qkv head h) -> qkv layer head h", qkv=3, head=n_heads)
    W_O = rearrange(write, "layer (head h) m -> layer head h m", head=n_heads)
    b_O = b_write - b_write.mean(-1, keepdim=True)
    b_O = b_O + einsum(b_V, W_O, "layer head d_head, layer head d_head d_model -> layer d_model")
    return AttentionWeights(W_Q, W_K, W_V, W_O, b_Q, b_K, torch.zeros_like(b_V), b_O)


def _stored(directory: Path) -> dict[str, tuple[Path, str]]:
    """Where each tensor is: name without prefix -> (file, name in it)."""
    places = {}
    for path in sorted(directory.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            places.update({name.removeprefix(PREFIX): (path, name) for name in file.keys()})  # noqa: SIM118
    return places


def _read(place: tuple[Path, str]) -> Tensor:
    path, name = place
    with safe_open(path, framework="pt") as file:
        return file.get_tensor(name)
