"""Plain tensors of a model under test: its processed weights, and the activations of one forward pass.

Instruments read these and nothing else, so they do not depend on any hooking library. Names follow the field:
W_Q, b_O, resid_pre, z, pattern. Everything that exists once a layer is stacked, layer first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import NamedTuple

import torch
from torch import Tensor

from lib.one_line import OneLine, counted

# Every activation a run can keep and an edit can replace, and its shape; those without a layer exist once.
SITES = {
    "resid_pre": "layer batch pos d_model",  # entering the block
    "resid_mid": "layer batch pos d_model",  # between attention and MLP
    "resid_post": "layer batch pos d_model",  # leaving the block
    "attn_out": "layer batch pos d_model",  # sum over heads + b_O
    "mlp_out": "layer batch pos d_model",
    "q": "layer batch pos head d_head",
    "k": "layer batch pos head d_head",
    "v": "layer batch pos head d_head",
    "z": "layer batch pos head d_head",
    "pattern": "layer batch head query key",
    "resid_final": "batch pos d_model",  # leaving the last block
    "final_scale": "batch pos 1",  # what the final LayerNorm divides by
}


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


@dataclass(frozen=True, eq=False)
class Weights(OneLine):
    """Weights with LayerNorm folded in, writing weights and unembedding centred, and value biases folded into b_O."""

    W_E: Tensor  # d_vocab d_model
    W_pos: Tensor  # n_ctx d_model
    W_Q: Tensor  # layer head d_model d_head
    W_K: Tensor
    W_V: Tensor
    W_O: Tensor  # layer head d_head d_model
    b_Q: Tensor  # layer head d_head
    b_K: Tensor
    b_V: Tensor
    b_O: Tensor  # layer d_model
    W_in: Tensor  # layer d_model d_mlp
    b_in: Tensor  # layer d_mlp
    W_out: Tensor  # layer d_mlp d_model
    b_out: Tensor  # layer d_model
    W_U: Tensor  # d_model d_vocab
    b_U: Tensor  # d_vocab
    layer_norm_eps: float
    activation: str  # the MLP's non-linearity, by its name in the model's config

    @property
    def n_layers(self) -> int:
        return self.W_Q.shape[0]

    @property
    def n_heads(self) -> int:
        return self.W_Q.shape[1]

    @property
    def d_model(self) -> int:
        return self.W_Q.shape[2]

    @property
    def d_head(self) -> int:
        return self.W_Q.shape[3]

    def tensors(self) -> Mapping[str, Tensor]:
        """The tensors by name."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if isinstance(value, Tensor)}

    def to(self, device: torch.device) -> Weights:
        """The same weights on `device`."""
        return replace(self, **{name: tensor.to(device) for name, tensor in self.tensors().items()})

    def __repr__(self) -> str:
        return f"<Weights: {counted(self.n_layers, 'layer')} x {counted(self.n_heads, 'head')}, d_model {self.d_model}>"


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


def at_positions(activation: Tensor, positions: Tensor) -> Tensor:
    """Rows of `activation` [batch pos ...] at one position a prompt. positions: [batch]. Returns [batch ...]."""
    if positions.shape != activation.shape[:1]:
        raise ValueError(
            f"positions has shape {tuple(positions.shape)}, but there are {activation.shape[0]} prompts: "
            "give one position a prompt"
        )
    return activation[torch.arange(len(positions), device=positions.device), positions]
