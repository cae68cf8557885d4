"""Activation patching: a base run with one activation taken from a source run, everything downstream recomputed.

Follows TransformerLens' `patching` module and its Activation Patching demo: the residual stream, attention output or
MLP output at one layer and position; a head's output, query, key, value or pattern at one layer, at all positions at
once or at one named position of each prompt. Base and source hold prompts of the same lengths.
Out of scope: several activations at once (see ablation.knock_out with another run's z), normalisation of the results.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lib.instruments.addresses import check_position
from lib.instruments.rerun import Intervention, Window, rerun, resid_mid, row_bytes
from lib.models import forward
from lib.models.activations import Run, Weights
from lib.models.budget import in_batches
from lib.models.forward import Block

STREAM_SITES = ("resid_pre", "attn_out", "mlp_out")
HEAD_SITES = ("z", "q", "k", "v", "pattern")


def patch_stream(
    weights: Weights, base: Run, source: Run, answers: Tensor, *, site: str, budget: int | None = None
) -> Tensor:
    """Logit differences of `base` with one site's activation from `source`, for each layer and column of the tokens.

    site: one of STREAM_SITES, which both runs must have kept; base also rerun.BASE_SITES. answers: [batch 2].
    budget: bytes; see budget.py. Returns [layer pos batch]; past a prompt's last token, base's own logit difference.

    Exact: a patch at a position changes nothing before it or below its layer, so only the rest is computed. Where the
    two runs agree at a layer and position in every prompt, the patch is the identity, and base's own value stands.
    """
    _check(base, source, site, STREAM_SITES)
    differs = (source[site] != base[site]).any(-1).cpu()  # layer batch pos
    last, device = base.last.cpu(), base.tokens.device
    differs &= torch.arange(differs.shape[-1], device=last.device) <= last[:, None]
    result = base.logit_difference(answers).expand(weights.n_layers, differs.shape[-1], -1).clone()
    layers = forward.blocks(weights)
    start = _first(differs.any(0), last)

    # Prompts are aligned at the first position where their two runs differ, so that one rerun serves all of them.
    for offset in range(int((last - start).max()) + 1):
        prompts = (start + offset <= last).nonzero()[:, 0]
        position = start[prompts] + offset
        where = differs[:, prompts, position].any(-1).nonzero()[:, 0].tolist()
        if not where:
            continue
        column = torch.full_like(base.last, -1)
        column[prompts.to(device)] = position.to(device)

        def measure(some: Tensor, column: Tensor = column, where: list[int] = where) -> Tensor:
            window = Window.of(some, column[some], base.last[some])
            patch = _PatchStream(weights, layers, base, source, site, where, column[some])
            return rerun(weights, layers, base, window, answers, patch)

        values = in_batches(
            measure,
            prompts.to(device),
            rows=len(where) * int((last[prompts] - position).max() + 1),
            row_bytes=row_bytes(weights, base),
            budget=budget,
        )
        for layer, value in zip(where, values, strict=True):
            result[layer, position.to(device), prompts.to(device)] = value
    return result


class _PatchStream(Intervention):
    """One row a layer, patched at `position`, the first of the window."""

    def __init__(
        self,
        weights: Weights,
        layers: Sequence[Block],
        base: Run,
        source: Run,
        site: str,
        where: list[int],
        position: Tensor,
    ):
        self.weights, self.layers, self.base, self.source, self.site = weights, layers, base, source, site
        self.where, self.position = where, position

    def at_resid_pre(self, layer: int, window: Window) -> Tensor | None:
        if self.site == "resid_pre" and layer in self.where:
            return self._row("resid_pre", layer, window)
        if self.site == "mlp_out" and layer - 1 in self.where:
            mid = resid_mid(self.base, layer - 1, self.layers[layer - 1], self.weights, window)
            return mid + self._row("mlp_out", layer - 1, window)
        return None

    def at_resid_mid(self, layer: int, window: Window) -> Tensor | None:
        if self.site == "attn_out" and layer in self.where:
            return window.read(self.base["resid_pre"][layer]) + self._row("attn_out", layer, window)
        return None

    def _row(self, site: str, layer: int, window: Window) -> Tensor:
        patched = window.position == self.position[window.row]
        base, source = window.read(self.base[site][layer]), window.read(self.source[site][layer])
        return torch.where(patched[:, None], source, base)[None]


def patch_heads(
    weights: Weights,
    base: Run,
    source: Run,
    answers: Tensor,
    *,
    site: str,
    position: Tensor | None = None,
    budget: int | None = None,
) -> Tensor:
    """Logit differences of `base` with one head's activation from `source`, for every head.

    site: one of HEAD_SITES, which both runs must have kept; base also rerun.BASE_SITES. position: [batch], the one
    position to patch (of the pattern: the query's), or None for all of them at once. The other arguments are those of
    `patch_stream`. Returns [layer head batch]; of k and v [layer kv_head batch], each for the group that reads it.

    Exact: whatever is patched, the rest of the model only sees the head's output z. That is computed for all heads
    of a layer at once, and each head is a row that joins after its layer's attention. Nothing changes before the first
    position where the patch differs from what it replaces.
    """
    _check(base, source, site, HEAD_SITES)
    if position is not None:
        check_position("position", position, base.last)
    first = _first_difference(base, source, site) if position is None else position
    n_heads = weights.architecture.n_kv_heads if site in ("k", "v") else weights.n_heads
    layers = forward.blocks(weights)

    def measure(prompts: Tensor) -> Tensor:
        window = Window.of(prompts, first[prompts], base.last[prompts])
        patch = _PatchHeads(weights, layers, base, source, site, None if position is None else position[prompts])
        return rerun(weights, layers, base, window, answers, patch)

    values = in_batches(
        measure,
        torch.arange(len(base.tokens), device=base.tokens.device),
        rows=weights.n_layers * n_heads * (int((base.last - first).max()) + 1),
        row_bytes=row_bytes(weights, base),
        budget=budget,
    )
    return values.view(weights.n_layers, n_heads, -1)


class _PatchHeads(Intervention):
    """One row a head: base's stream after attention, plus what the head writes differently when patched."""

    def __init__(
        self, weights: Weights, layers: Sequence[Block], base: Run, source: Run, site: str, position: Tensor | None
    ):
        self.weights, self.layers, self.base, self.source = weights, layers, base, source
        self.site, self.position = site, position

    def at_resid_mid(self, layer: int, window: Window) -> Tensor:
        def read(run: Run, site: str) -> Tensor:
            return run[site][layer][window.prompts]

        def patched(site: str) -> Tensor:
            old = read(self.base, site)
            return self._patched(old, read(self.source, site)) if site == self.site else old

        block = self.layers[layer]
        if self.site == "z":
            z = patched("z")
        else:
            own = self.site != "pattern"
            q_and_k = patched("q"), patched("k")
            pattern = forward.attention_pattern(*q_and_k, block, self.weights) if own else patched("pattern")
            z = forward.mixed(pattern, patched("v"))
        change = (z - read(self.base, "z"))[window.row, window.position]  # token head d_head
        # A row a head, or a group of them where what is patched is theirs together.
        n_rows = self.weights.architecture.n_kv_heads if self.site in ("k", "v") else self.weights.n_heads
        change = change.unflatten(1, (n_rows, -1)).flatten(2).transpose(0, 1)
        W_O = block.W_O.unflatten(0, (n_rows, -1))
        entering = window.read(self.base["resid_pre"][layer])
        written = forward.written_by_heads(window.read(self.base["z"][layer]), block)
        if block.post_attention is None:  # one product then adds up everything
            return torch.baddbmm((entering + written).expand(n_rows, -1, -1), change, W_O)
        return entering + forward.written_by_attention(written + change @ W_O, block, self.weights)

    def _patched(self, base: Tensor, source: Tensor) -> Tensor:
        if self.position is None:
            return source
        columns = torch.arange(base.shape[2 if self.site == "pattern" else 1], device=base.device)
        there = columns == self.position[:, None]  # batch pos
        there = there[:, None, :, None] if self.site == "pattern" else there[:, :, None, None]
        return torch.where(there, source, base)


def _first_difference(base: Run, source: Run, site: str) -> Tensor:
    """The first position at which a head's activation differs between the runs, in any layer. [batch]"""
    others = (2, 3) if site != "pattern" else (1, 3)  # the axes that are not batch and position
    layers = zip(base[site], source[site], strict=True)
    return _first(torch.stack([(old != new).any(others[1]).any(others[0]) for old, new in layers]).any(0), base.last)


def _first(differs: Tensor, last: Tensor) -> Tensor:
    """The first position at which each prompt's runs differ, or its last one if none does. [batch pos] to [batch]"""
    return torch.minimum(torch.where(differs.any(1), differs.int().argmax(1), last), last)


def _check(base: Run, source: Run, site: str, sites: tuple[str, ...]) -> None:
    if site not in sites:
        raise ValueError(f"site is {site!r}: it is one of {', '.join(sites)}")
    if base.tokens.shape != source.tokens.shape or not torch.equal(base.last, source.last):
        raise ValueError(
            f"the runs hold {tuple(base.tokens.shape)} and {tuple(source.tokens.shape)} tokens that end at "
            f"{base.last.tolist()[:4]}... and {source.last.tolist()[:4]}...: patch between prompts of the same lengths"
        )
