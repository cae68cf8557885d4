"""Edits made by hooks: that they act, reach what they should and nothing else, and do as in plain tensors.

Like those of `identities`, these functions take the model itself, and return logits to be compared or one number a
prompt [batch]. Prompts of a batch are edited at different places, so that an edit that strays to another prompt shows.
Out of scope: what a deviation may be (that is a band), edits that instruments make (they make none by hooks).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from lib.models.activations import SITES, Edit, Run, Weights, is_layered, layers_of, sites_of
from lib.models.backends.plain import forward_in_plain_tensors
from lib.models.config import family_of, read_config
from lib.models.model import Model

# TransformerLens 4.3 reads resid_mid where the second LayerNorm takes its input, after the residual connection has
# branched off: what is kept there is right, but an edit reaches the MLP alone. Nothing here edits it.
NOT_EDITABLE = ("resid_mid",)
EDITABLE = tuple(site for site in SITES if site not in NOT_EDITABLE)


def editable(model: Model) -> tuple[str, ...]:
    """The sites of a model whose edits are compared: those it has, but for what the library only shows."""
    shown = family_of(read_config(model.directory)).read_only
    return tuple(site for site in sites_of(model.weights.architecture) if site in EDITABLE and site not in shown)


def flipped_by_hooks(model: Model, run: Run, *sites: str) -> Tensor:
    """Logits with the sign of one activation of each prompt flipped by hooks. [batch d_vocab]

    Prompts take the sites in turn and, once round them all, the next layer (`_flipped_where`): one pass tries many
    places, and whether an edit stays in its own prompt.
    """
    where = _flipped_where(run, model.weights, sites)

    def edits(some: Tensor) -> list[Edit]:
        return [Edit(site, layer, partial(_flip, prompts=prompts[some])) for (site, layer), prompts in where.items()]

    return model.run(run.tokens, last=run.last, edits=edits).logits


def flipped_in_plain_tensors(weights: Weights, run: Run, *sites: str) -> Tensor:
    """What `flipped_by_hooks` is to give, by `forward_in_plain_tensors`. [batch d_vocab]"""
    where = _flipped_where(run, weights, sites)

    def edit(here: str, layer: int, activation: Tensor) -> Tensor:
        return _flip(activation, where[here, layer]) if (here, layer) in where else activation

    return forward_in_plain_tensors(weights, run.tokens, run.last, edit=edit)


def patched_into_itself(model: Model, run: Run, site: str) -> Tensor:
    """Logits with a site's activation replaced by the run's own in every layer at once. [batch d_vocab]"""
    stacked = run[site] if is_layered(site) else run[site][None]
    edits = [Edit(site, layer, lambda _, kept=kept: kept) for layer, kept in enumerate(stacked)]
    return model.run(run.tokens, last=run.last, edits=edits).logits


def handed_back(model: Model, run: Run, site: str) -> Tensor:
    """Logits with a site edited in every layer by a change that hands back what it is given. [batch d_vocab]

    Rounding may tell it from no edit, where the library computes on by other kernels then (`Family.recomputed`).
    """
    edits = [Edit(site, layer, lambda activation: activation) for layer in layers_of(site, model.weights)]
    return model.run(run.tokens, last=run.last, edits=edits).logits


def is_recomputed(model: Model, site: str) -> bool:
    """Whether the hooking library computes on by other kernels where that site is edited."""
    return site in family_of(read_config(model.directory)).recomputed


def reached_in_its_layer(model: Model, run: Run, site: str) -> tuple[Tensor, Tensor]:
    """How far the sign of one head's keys or values, flipped by a hook, moves z of the heads that are to read them, and
    of the others of its layer. Both [batch], as shares of the largest z there.

    site: "k" or "v". Prompt i is flipped in layer i, modulo how many there are, in the head whose `site` is largest.
    The run must have kept `site` and "z".
    """
    prompt = torch.arange(len(run.tokens), device=run.last.device)
    layer = prompt % model.weights.n_layers
    kept, z = run[site][layer, prompt], run["z"][layer, prompt]
    flipped = one_hot(kept.norm(dim=-1).sum(1).argmax(-1), kept.shape[-2]).bool()  # batch kv_head

    def edit(one: int) -> Edit:
        where = (flipped & (layer == one)[:, None])[:, None, :, None]
        return Edit(site, one, lambda activation: torch.where(where, -activation, activation))

    edits = [edit(one) for one in range(model.weights.n_layers)]
    edited = model.run(run.tokens, last=run.last, keep=("z",), edits=edits)["z"][layer, prompt]
    moved = (edited - z).abs().amax((1, 3)) / z.abs().amax((1, 2, 3))[:, None]
    reads = flipped.repeat_interleave(model.weights.architecture.group, 1)
    return moved.masked_fill(~reads, torch.inf).amin(-1), moved.masked_fill(reads, 0).amax(-1)


def change_of_mlps_beside(model: Model, run: Run) -> Tensor:
    """How far z, flipped by a hook in prompt i's layer i, moves what the MLP of that layer writes. [batch]

    As a share of the most that it writes. Where attention and MLP are parallel, by rounding alone. The run must have
    kept "mlp_out".
    """
    prompt = torch.arange(len(run.tokens), device=run.last.device)
    layer = prompt % model.weights.n_layers
    flips = _flipped_where(run, model.weights, ["z"])
    edits = [Edit(site, one, partial(_flip, prompts=prompts)) for (site, one), prompts in flips.items()]
    edited = model.run(run.tokens, last=run.last, keep=("mlp_out",), edits=edits)
    before, after = (one["mlp_out"][layer, prompt] for one in (run, edited))
    return (after - before).abs().amax((1, 2)) / before.abs().amax((1, 2))


def _flipped_where(run: Run, weights: Weights, sites: Sequence[str]) -> dict[tuple[str, int], Tensor]:
    """Which prompts are flipped at each site and layer, bool [batch]: prompt i at site i in the layer that counts the
    rounds of all sites, each modulo how many there are."""
    prompt = torch.arange(len(run.tokens), device=run.last.device)
    turn, rounds = prompt % len(sites), prompt // len(sites)
    return {
        (site, layer): (turn == i) & (rounds % len(layers_of(site, weights)) == layer)
        for i, site in enumerate(sites)
        for layer in layers_of(site, weights)
    }


def _flip(activation: Tensor, prompts: Tensor) -> Tensor:
    return torch.where(prompts.view(-1, *[1] * (activation.ndim - 1)), -activation, activation)
