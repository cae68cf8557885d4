"""What the blocks of a decoder are: a value that the maths (`forward`) is driven by, and nothing else branches on.

A family of decoders is a way to state this value in config.json (`families`). Heads are query heads; where several
share one key/value head, a group of them reads the same keys and values.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from lib.models.family import Family, Norm, Pairing


@dataclass(frozen=True)
class Rotary:
    """Queries and keys turned by their position: which dimensions, in which pairs, and how fast each pair turns."""

    pairing: Pairing  # dimension i with i + half of them, or each with the next one
    frequencies: tuple[tuple[float, ...], ...]  # layer, pair: radians a position

    @property
    def dimensions(self) -> int:
        """How many of a head's dimensions are turned, the first ones; the others are as they are."""
        return 2 * len(self.frequencies[0])

    def turned(self, x: Tensor, positions: Tensor, layer: int) -> Tensor:
        """x [... head d_head] as it is at positions [...]. Angles, their sines and cosines are in float32 whatever x
        is, as the models themselves have them: other angles would be other models."""
        frequencies = torch.tensor(self.frequencies[layer], dtype=torch.float32, device=x.device)
        angles = (positions[..., None].float() * frequencies)[..., None, :]  # ... 1 pair
        cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
        turning, still = x[..., : self.dimensions], x[..., self.dimensions :]
        if self.pairing == "halves":
            one, other = turning.chunk(2, -1)
            return torch.cat([one * cos - other * sin, other * cos + one * sin, still], -1)
        one, other = turning[..., ::2], turning[..., 1::2]
        turned = torch.stack([one * cos - other * sin, other * cos + one * sin], -1).flatten(-2)
        return torch.cat([turned, still], -1)


@dataclass(frozen=True)
class Architecture:
    """The sizes of a decoder, and what each of its blocks computes."""

    n_layers: int
    n_heads: int
    n_kv_heads: int
    d_model: int
    d_head: int
    d_mlp: int
    d_vocab: int
    n_ctx: int
    norm: Norm
    norm_eps: float
    activation: str  # the MLP's non-linearity, by its name in the model's config
    scale: float  # q.k is multiplied by it
    gated: bool = False  # the MLP's hidden layer is activation(gate) * up
    parallel: bool = False  # attention and MLP read the same stream, so that there is none between them
    post_norms: bool = False  # what attention and MLP write is normalised before it is added
    qk_norm: bool = False  # each head's q and k are normalised before they are turned
    rotary: Rotary | None = None  # else positions are learned, and added to the embedding
    windows: tuple[int | None, ...] = ()  # layer: how many positions are seen, its own included; () if all of them
    attention_cap: float | None = None  # scores are cap * tanh(scores / cap)
    final_cap: float | None = None  # and so are logits

    @property
    def group(self) -> int:
        """How many query heads share a key/value head: head h reads key/value head h // group."""
        return self.n_heads // self.n_kv_heads

    def window(self, layer: int) -> int | None:
        """How many positions a query sees in `layer`, its own included; None where it sees all before it."""
        return self.windows[layer] if self.windows else None


def architecture_of(family: Family, config: Mapping) -> Architecture:
    """What a checked config.json of that family says, all its keys being there."""
    sizes = {ours: config.get(key) for ours, key in family.all_sizes.items()}
    sizes["d_mlp"] = sizes["d_mlp"] or 4 * sizes["d_model"]
    sizes["d_head"] = sizes.get("d_head") or sizes["d_model"] // sizes["n_heads"]
    sizes["n_kv_heads"] = sizes.get("n_kv_heads") or sizes["n_heads"]
    turns = family.rotary(config, sizes["d_head"]) if family.rotary else ()
    caps = dict(zip(("attention_cap", "final_cap"), (config[key] for key in family.caps), strict=bool(family.caps)))
    return Architecture(
        **sizes,
        norm=family.norm,
        norm_eps=config[family.norm_eps] if isinstance(family.norm_eps, str) else family.norm_eps,
        activation=config[family.activation],
        scale=family.scale(config, sizes["d_head"]),
        gated="gate" in family.parts,
        parallel=family.parallel(config),
        post_norms="post_1" in family.parts,
        qk_norm="q_norm" in family.parts,
        rotary=Rotary(family.pairing, tuple(frequencies(*one) for one in turns)) if turns else None,
        windows=family.windows(config),
        **caps,
    )


def frequencies(parameters: Mapping, dimensions: int) -> tuple[float, ...]:
    """How fast each pair of dimensions turns, as `rope_parameters` say, in float32 as transformers has them."""
    pairs = torch.arange(0, dimensions, 2, dtype=torch.float32)
    found = 1.0 / (parameters["rope_theta"] ** (pairs / dimensions))
    if parameters["rope_type"] == "linear":
        found = found / parameters["factor"]
    if parameters["rope_type"] == "llama3":
        found = _as_llama_3(found, parameters)
    return tuple(found.tolist())


def _as_llama_3(found: Tensor, parameters: Mapping) -> Tensor:
    """Slow turns slowed by a factor, fast ones left, and a mixture of both between (Llama 3.1's long context)."""
    low, high = parameters["low_freq_factor"], parameters["high_freq_factor"]
    length, factor = parameters["original_max_position_embeddings"], parameters["factor"]
    wavelength = 2 * math.pi / found
    share = ((length / wavelength - low) / (high - low)).clamp(0, 1)
    return (1 - share) * found / factor + share * found
