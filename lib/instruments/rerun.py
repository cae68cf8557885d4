"""Running again, from a cached run, only what an intervention can change.

An edit at a position changes nothing before it (attention is causal) and nothing below its layer; only the last
position's logits are read. So a rerun computes, for each prompt, the positions from the first edited one to the last,
from the edited layer up, and reads everything else from the cache. Many interventions share one rerun: each is a row,
which joins at the layer where it first differs. This is exact; the tests compare it with hooked forward passes.
Out of scope: what is edited (see patching, path_patching, ablation) and edits to MLP internals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lib.models import forward
from lib.models.activations import Run, Weights
from lib.models.forward import Block

# What a run must have kept to be rerun from any point.
BASE_SITES = ("resid_pre", "q", "k", "v", "z")


@dataclass(frozen=True, eq=False)
class Window:
    """Positions `first` to `last` of some prompts, packed one after another with no padding: `row`, `position`."""

    prompts: Tensor  # prompt: index into the run
    first: Tensor  # prompt
    last: Tensor  # prompt
    row: Tensor  # token: index into `prompts`
    position: Tensor  # token
    padded: Tensor  # prompt width: index into the tokens; past a prompt's end, its last token again
    before: int  # positions that come before the window in some prompt

    @classmethod
    def of(cls, prompts: Tensor, first: Tensor, last: Tensor) -> Window:
        """The window of `prompts` [prompt] from `first` to `last` [prompt], the latter included."""
        length = last - first + 1
        width = torch.arange(int(length.max()), device=last.device)
        row, offset = (width < length[:, None]).nonzero(as_tuple=True)
        start = length.cumsum(0) - length
        padded = start[:, None] + torch.minimum(width, length[:, None] - 1)
        return cls(prompts, first, last, row, first[row] + offset, padded, before=int(first.max()))

    def end(self) -> Window:
        """The window of the last positions alone."""
        return Window.of(self.prompts, self.last, self.last)

    def read(self, activation: Tensor) -> Tensor:
        """The window of a run's activation. [batch pos ...] to [token ...]."""
        return activation[self.prompts[self.row], self.position]

    def pad(self, packed: Tensor) -> Tensor:
        """[row token ...] to [row prompt width ...]."""
        return packed[:, self.padded]

    def pack(self, padded: Tensor) -> Tensor:
        """[row prompt width ...] to [row token ...]."""
        return padded[:, self.row, self.position - self.first[self.row]]

    def columns(self) -> Tensor:
        """The position of each padded column. [prompt width]"""
        return self.first[:, None] + torch.arange(self.padded.shape[1], device=self.first.device)


class Intervention:
    """What a rerun changes. Rows join in the order of layers; rows that joined stay, in the order they came."""

    def clones(self, layer: int) -> int:
        """How many rows have their first edit inside the attention of `layer`, and enter it as the cached run."""
        return 0

    def at_resid_pre(self, layer: int, window: Window) -> Tensor | None:
        """Rows that join entering `layer` [row token d_model]; layer n_layers is the final residual stream."""
        return None

    def at_resid_mid(self, layer: int, window: Window) -> Tensor | None:
        """Rows that join between attention and MLP of `layer` [row token d_model]."""
        return None

    def edit(self, site: str, layer: int, activation: Tensor, window: Window) -> Tensor:
        """The activation at site q, k, v or z as it shall be [row prompt width head d_head]; may change it in place."""
        return activation


def place(activation: Tensor, value: Tensor, position: Tensor, window: Window) -> None:
    """Set activation [... prompt width d_head] to value [... prompt d_head] at `position` [prompt], if it is there."""
    there = (window.columns() == position[:, None])[..., None]
    activation.copy_(torch.where(there, value.unsqueeze(-2), activation))


def resid_mid(run: Run, layer: int, block: Block, weights: Weights, window: Window) -> Tensor:
    """The cached run's stream with attention's output, and without the MLP's. [token d_model]"""
    return window.read(run["resid_pre"][layer]) + forward.combine(window.read(run["z"][layer]), block, weights)


def rerun(
    weights: Weights, layers: Sequence[Block], run: Run, window: Window, answers: Tensor, change: Intervention
) -> Tensor:
    """Logit differences of every row of `change`, computed again on `window`. Returns [row prompt].

    At the top layer every position's key and value matter, but of queries, outputs and MLP only the last position's.
    """
    x = run["resid_pre"].new_empty(0, len(window.row), weights.d_model)
    for layer, block in enumerate(layers):
        x = _join(x, change.at_resid_pre(layer, window))
        keys, window = window, window.end() if layer == len(layers) - 1 else window
        clones = change.clones(layer)
        attn_out = _attn_out(x, clones, weights, block, run, layer, keys, window, change)
        cached = window.read(run["resid_pre"][layer])
        entering = _join(_queries(x, keys, window), cached.expand(clones, -1, -1))
        x = entering + attn_out
        joined = change.at_resid_mid(layer, window)
        if joined is not None and weights.architecture.parallel:
            entering = _join(entering, cached.expand(len(joined), -1, -1))
        x = _join(x, joined)
        forward.add_mlp_(x, block, weights, entering)
    x = _join(x, change.at_resid_pre(len(layers), window))
    return forward.logit_difference(x, weights, answers[window.prompts])


def _attn_out(
    x: Tensor,
    clones: int,
    weights: Weights,
    block: Block,
    run: Run,
    layer: int,
    keys: Window,
    queries: Window,
    change: Intervention,
) -> Tensor:
    """attn_out at the queries [row token d_model], of rows x and then of `clones` rows, whose q, k and v are cached."""
    if not len(x) + clones:
        return x.new_empty(0, len(queries.row), weights.d_model)
    q, k, v = forward.project(x, block, weights)
    padded = {}
    for site, new, window in (("q", _queries(q, keys, queries), queries), ("k", k, keys), ("v", v, keys)):
        cached = window.read(run[site][layer]).expand(clones, -1, -1, -1)
        padded[site] = change.edit(site, layer, window.pad(_join(new, cached)), window)
    before = torch.arange(keys.before, device=x.device)
    at, seen = queries.columns(), weights.architecture.window(layer)
    z = forward.attend(
        forward.ready_queries(padded["q"], block, weights, at),
        forward.ready_keys(padded["k"], block, weights, keys.columns()),
        padded["v"],
        past_k=forward.ready_keys(run["k"][layer, keys.prompts, : keys.before], block, weights, before),
        past_v=run["v"][layer, keys.prompts, : keys.before],
        sees_past=(before < keys.first[:, None])[:, None] & forward.visible(at[:, :, None], before, seen),
        sees=forward.visible(at[:, :, None], keys.columns()[:, None], seen),
        cap=weights.architecture.attention_cap,
    )
    return forward.combine(queries.pack(change.edit("z", layer, z, queries)), block, weights)


def _queries(activation: Tensor, keys: Window, queries: Window) -> Tensor:
    """The part of a keys' window [row token ...] that is the queries': all of it, or each prompt's last token."""
    return activation if queries is keys else activation[:, keys.padded[:, -1]]


def _join(x: Tensor, rows: Tensor | None) -> Tensor:
    return x if rows is None or not len(rows) else torch.cat([x, rows])


def row_bytes(weights: Weights, run: Run) -> int:
    """Memory of one row of matrices in a rerun: its stream, q, k and v (as computed, and padded), z, and attention."""
    one = weights.architecture
    attention, heads = 2 * one.n_heads * 2 * run.tokens.shape[1], 7 * one.n_heads * one.d_head
    return (5 * one.d_model + heads + attention) * weights.computes_in.itemsize
