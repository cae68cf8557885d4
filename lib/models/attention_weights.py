"""Attention weights of a checkpoint, read and processed without a model: enough for claims that run nothing.

A checkpoint may hold attention alone (no embedding, no MLP matrices), which no library loads. Processing: `folding`.
Out of scope: everything outside attention.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import torch
from torch import Tensor

from lib.models.activations import Weights
from lib.models.checkpoint import Checkpoint
from lib.models.folding import fold_attention
from lib.one_line import counted


@dataclass(frozen=True, eq=False)
class AttentionWeights:
    """The attention part of `Weights`, under the same names, processed in the same way."""

    W_Q: Tensor  # layer head d_model d_head
    W_K: Tensor  # layer kv_head d_model d_head
    W_V: Tensor
    W_O: Tensor  # layer head d_head d_model
    b_Q: Tensor  # layer head d_head
    b_K: Tensor
    b_V: Tensor
    b_O: Tensor  # layer d_model
    post_attention: Tensor | None = None  # layer d_model

    @classmethod
    def of(cls, weights: Weights) -> AttentionWeights:
        """Those of a loaded model; the tensors are shared, not copied."""
        return cls(**{field.name: getattr(weights, field.name) for field in fields(cls)})

    def to(self, device: torch.device) -> AttentionWeights:
        """The same weights on `device`."""
        moved = {field.name: getattr(self, field.name) for field in fields(self)}
        return AttentionWeights(**{name: value if value is None else value.to(device) for name, value in moved.items()})

    def __repr__(self) -> str:
        n_layers, n_heads, d_model, _ = self.W_Q.shape
        return f"<AttentionWeights: {counted(n_layers, 'layer')} x {counted(n_heads, 'head')}, d_model {d_model}>"


def read_attention_weights(directory: Path, *, dtype: torch.dtype = torch.float32) -> AttentionWeights:
    """The processed attention weights of a checkpoint, in `dtype` whatever it is stored in.

    Raises CannotLoad where a tensor of attention itself is missing.
    """
    return AttentionWeights(**fold_attention(Checkpoint(directory), dtype))
