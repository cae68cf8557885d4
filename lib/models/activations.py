"""Plain tensors of a model under test: its processed weights, and the activations of one forward pass.

Instruments read these and nothing else, so they do not depend on any hooking library. Names follow the field:
W_Q, b_O, resid_pre, z, pattern. Everything that exists once a layer is stacked, layer first. q and k are as projected,
before they are normalised or turned by their position. Where query heads share keys and values, k and v have as many
heads as there are of those.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import NamedTuple

import torch
from torch import Tensor

from lib.models.architecture import Architecture
from lib.one_line import OneLine, counted

# Every activation a run can keep and an edit can replace, and its shape; those without a layer exist once.
SITES = {
    "resid_pre": "layer batch pos d_model",  # entering the block
    "resid_mid": "layer batch pos d_model",  # between attention and MLP, where these are not parallel
    "resid_post": "layer batch pos d_model",  # leaving the block
    "attn_out": "layer batch pos d_model",  # sum over heads + b_O, normalised where the model does that
    "mlp_out": "layer batch pos d_model",  # as it is added to the stream, too
    "q": "layer batch pos head d_head",
    "k": "layer batch pos kv_head d_head",
    "v": "layer batch pos kv_head d_head",
    "z": "layer batch pos head d_head",
    "pattern": "layer batch head query key",
    "resid_final": "batch pos d_model",  # leaving the last block
    "final_scale": "batch pos 1",  # what the final norm divides by
}


def computed_in(kept_in: torch.dtype) -> torch.dtype:
    """The number type to compute in with weights of another: float32 for bfloat16 and float16, else the same."""
    return torch.float32 if kept_in.itemsize < torch.float32.itemsize else kept_in


class Edit(NamedTuple):
    """Replace the activation at `site` of `layer` by `change(activation)` while a run lasts (layer 0 if it is one)."""

    site: str
    layer: int
    change: Callable[[Tensor], Tensor]


def is_layered(site: str) -> bool:
    """Whether a site exists once a layer. Raises ValueError for an unknown one."""
    if site not in SITES:
        raise ValueError(f"{site!r} is not an activation this suite knows: use one of {', '.join(SITES)}")
    return SITES[site].startswith("layer")


def layers_of(site: str, weights: Weights) -> range:
    """The layers in which a site exists; range(1) for a site that exists once."""
    return range(weights.n_layers if is_layered(site) else 1)


def sites_of(architecture: Architecture) -> tuple[str, ...]:
    """The sites that a model has: with attention and MLP in parallel there is no stream between them."""
    return tuple(site for site in SITES if site != "resid_mid" or not architecture.parallel)


def check_site(site: str, architecture: Architecture) -> None:
    """Raises ValueError for a site that is not known, or that such a model does not have."""
    is_layered(site)
    if site not in sites_of(architecture):
        raise ValueError(
            f"{site!r} does not exist here: attention and MLP read the same stream, and nothing stands between them; "
            f"use one of {', '.join(sites_of(architecture))}"
        )


@dataclass(frozen=True, eq=False)
class Weights(OneLine):
    """Weights with the gains of norms folded in, and value biases folded into b_O; see `folding`. Biases that a model
    lacks are zeros."""

    architecture: Architecture
    W_E: Tensor  # d_vocab d_model
    W_Q: Tensor  # layer head d_model d_head
    W_K: Tensor  # layer kv_head d_model d_head
    W_V: Tensor
    W_O: Tensor  # layer head d_head d_model
    b_Q: Tensor  # layer head d_head
    b_K: Tensor  # layer kv_head d_head
    b_V: Tensor
    b_O: Tensor  # layer d_model
    W_in: Tensor  # layer d_model d_mlp
    b_in: Tensor  # layer d_mlp
    W_out: Tensor  # layer d_mlp d_model
    b_out: Tensor  # layer d_model
    W_U: Tensor  # d_model d_vocab
    b_U: Tensor  # d_vocab
    W_pos: Tensor | None = None  # n_ctx d_model, where positions are learned
    W_gate: Tensor | None = None  # layer d_model d_mlp
    post_attention: Tensor | None = None  # layer d_model: gains of the norms of what is written, which nothing folds
    post_mlp: Tensor | None = None
    q_norm: Tensor | None = None  # layer d_head: gains of the norms of each head's q and k
    k_norm: Tensor | None = None

    @property
    def n_layers(self) -> int:
        return self.architecture.n_layers

    @property
    def n_heads(self) -> int:
        return self.architecture.n_heads

    @property
    def d_model(self) -> int:
        return self.architecture.d_model

    @property
    def d_head(self) -> int:
        return self.architecture.d_head

    @property
    def computes_in(self) -> torch.dtype:
        """The number type of what is computed with them: see `computed_in`."""
        return computed_in(self.W_Q.dtype)

    def tensors(self) -> Mapping[str, Tensor]:
        """The tensors by name."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if isinstance(value, Tensor)}

    def to(self, target: torch.device | torch.dtype) -> Weights:
        """The same weights on a device, or in a number type."""
        return replace(self, **{name: tensor.to(target) for name, tensor in self.tensors().items()})

    def __repr__(self) -> str:
        shared = self.architecture.n_kv_heads
        heads = counted(self.n_heads, "head") + (f" on {shared} of keys and values" if shared != self.n_heads else "")
        return f"<Weights: {counted(self.n_layers, 'layer')} x {heads}, d_model {self.d_model}>"


class OnDemand(Mapping[str, Tensor]):
    """Activations by site, each made when it is first asked for, and kept."""

    def __init__(self, sites: Iterable[str], make: Callable[[str], Tensor]) -> None:
        self._made: dict[str, Tensor | None] = dict.fromkeys(sites)
        self._make = make

    def __getitem__(self, site: str) -> Tensor:
        if self._made[site] is None:
            self._made[site] = self._make(site)
        return self._made[site]

    def __contains__(self, site: object) -> bool:
        return site in self._made

    def __iter__(self) -> Iterator[str]:
        return iter(self._made)

    def __len__(self) -> int:
        return len(self._made)


@dataclass(frozen=True, eq=False)
class Run(OneLine):
    """One forward pass: tokens in, logits at one position a prompt, and the activations asked for.

    `run["z"]` is [layer batch pos head d_head]; `SITES` lists the names and shapes.
    """

    tokens: Tensor  # batch pos
    last: Tensor  # batch: the position whose logits were kept
    logits: Tensor  # batch d_vocab
    activations: Mapping[str, Tensor]

    def __getitem__(self, site: str) -> Tensor:
        if site not in self.activations:
            raise KeyError(f"this run kept {sorted(self.activations)}, not {site!r}: add it to keep=")
        return self.activations[site]

    def first(self, n: int) -> Run:
        """The run of its first `n` prompts: views of the same tensors."""
        activations = OnDemand(
            self.activations, lambda site: self[site][(slice(None),) * is_layered(site) + (slice(n),)]
        )
        return Run(self.tokens[:n], self.last[:n], self.logits[:n], activations)

    def logit_difference(self, answers: Tensor) -> Tensor:
        """logit[answers[:, 0]] - logit[answers[:, 1]] at the last position. [batch]"""
        picked = self.logits.gather(1, answers)
        return picked[:, 0] - picked[:, 1]

    def __repr__(self) -> str:
        batch, pos = self.tokens.shape
        return f"<Run: {batch} prompts x {pos} tokens, kept {' '.join(sorted(self.activations)) or 'logits only'}>"


def keep_at(kept: dict[str, Tensor], site: str, layer: int, activation: Tensor, *, n_layers: int) -> None:
    """Put a copy of what a site of one layer holds into `kept`, layers one after another."""
    if not is_layered(site):
        kept[site] = activation.clone()
        return
    if site not in kept:
        kept[site] = activation.new_empty((n_layers, *activation.shape))
    kept[site][layer] = activation


def at_positions(activation: Tensor, positions: Tensor) -> Tensor:
    """Rows of `activation` [batch pos ...] at one position a prompt. positions: [batch]. Returns [batch ...]."""
    if positions.shape != activation.shape[:1]:
        raise ValueError(
            f"positions has shape {tuple(positions.shape)}, but there are {activation.shape[0]} prompts: "
            "give one position a prompt"
        )
    return activation[torch.arange(len(positions), device=positions.device), positions]
