"""Processing a checkpoint's weights without a hooking library, step by step as the library does it.

LayerNorm's gain and bias are folded into what reads the residual stream, and that is centred, since LayerNorm's output
has mean zero; what writes to the stream is centred, since LayerNorm subtracts the mean; value biases are folded into
b_O; the unembedding's mean over tokens, which no softmax sees, is taken out (TransformerLens, process_weights). Where
config.json asks for another scale of attention than 1 / sqrt(d_head), queries are multiplied by the rest of it, so that
everything that computes attention from processed weights divides by sqrt(d_head) alone.
Layout: the GPT-2 of `transformers`, whose linear maps are stored [in out].
"""

from __future__ import annotations

import torch
from einops import einsum, rearrange
from torch import Tensor

from lib.models.activations import Weights
from lib.models.checkpoint import Checkpoint
from lib.models.config import CannotLoad, query_factors

# What is asked of the hooking library, by the names of its own switches, since its defaults might change.
PROCESSING = {
    "fold_ln": True,
    "center_writing_weights": True,
    "center_unembed": True,
    "fold_value_biases": True,
    "refactor_factored_attn_matrices": False,
}


def fold_attention(checkpoint: Checkpoint, dtype: torch.dtype) -> dict[str, Tensor]:
    """W_Q, W_K, W_V, W_O, b_Q, b_K, b_V and b_O, computed in `dtype` whatever the checkpoint is stored in.

    Raises CannotLoad where a tensor of attention itself is missing.
    """
    absent = checkpoint.missing_attention()
    if absent:
        raise CannotLoad(
            f"{checkpoint.directory} lacks {len(absent)} attention tensors, {absent[0]} first: save the checkpoint "
            "with every layer's ln_1 and attn"
        )
    n_heads = checkpoint.config["n_head"]
    read, b_read = _reading(checkpoint, "ln_1", "attn.c_attn", dtype)
    W_Q, W_K, W_V = rearrange(read, "layer m (qkv head h) -> qkv layer head m h", qkv=3, head=n_heads)
    b_Q, b_K, b_V = rearrange(b_read, "layer (qkv head h) -> qkv layer head h", qkv=3, head=n_heads)
    write = _centred(checkpoint.stack("attn.c_proj.weight", dtype))
    W_O = rearrange(write, "layer (head h) m -> layer head h m", head=n_heads)
    b_O = _centred(checkpoint.stack("attn.c_proj.bias", dtype))
    b_O = b_O + einsum(b_V, W_O, "layer head d_head, layer head d_head d_model -> layer d_model")
    b_V = torch.zeros_like(b_V)
    factor = torch.tensor(query_factors(checkpoint.config), dtype=dtype)
    W_Q, b_Q = W_Q * factor[:, None, None, None], b_Q * factor[:, None, None]
    return {"W_Q": W_Q, "W_K": W_K, "W_V": W_V, "W_O": W_O, "b_Q": b_Q, "b_K": b_K, "b_V": b_V, "b_O": b_O}


def fold(checkpoint: Checkpoint, dtype: torch.dtype) -> Weights:
    """All weights, computed in `dtype`. Raises CannotLoad where a tensor is missing."""
    absent = checkpoint.missing()
    if absent:
        raise CannotLoad(f"{checkpoint.directory} lacks {len(absent)} tensors, {absent[0]} first: save the whole model")
    W_in, b_in = _reading(checkpoint, "ln_2", "mlp.c_fc", dtype)
    W_U, gain = checkpoint.unembedding(dtype).T, checkpoint.read("ln_f.weight", dtype)
    b_U = checkpoint.read("ln_f.bias", dtype) @ W_U
    return Weights(
        W_E=_centred(checkpoint.read("wte.weight", dtype)),
        W_pos=_centred(checkpoint.read("wpe.weight", dtype)),
        **fold_attention(checkpoint, dtype),
        W_in=W_in,
        b_in=b_in,
        W_out=_centred(checkpoint.stack("mlp.c_proj.weight", dtype)),
        b_out=_centred(checkpoint.stack("mlp.c_proj.bias", dtype)),
        W_U=_centred(_centred(W_U * gain[:, None], 0)),
        b_U=_centred(b_U),
        layer_norm_eps=checkpoint.config["layer_norm_epsilon"],
        activation=checkpoint.config["activation_function"],
    )


def _reading(checkpoint: Checkpoint, norm: str, linear: str, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Weights [layer d_model out] and biases [layer out] of maps that read the stream through a LayerNorm."""
    gain, bias = (checkpoint.stack(f"{norm}.{kind}", dtype) for kind in ("weight", "bias"))
    weight = checkpoint.stack(f"{linear}.weight", dtype)
    b = checkpoint.stack(f"{linear}.bias", dtype)
    b = b + einsum(bias, weight, "layer d_model, layer d_model out -> layer out")
    return _centred(weight * gain[:, :, None], 1), b


def _centred(tensor: Tensor, axis: int = -1) -> Tensor:
    return tensor - tensor.mean(axis, keepdim=True)
