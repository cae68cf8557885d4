"""A forward pass of plain tensors: no hooking library, no module, nothing that could hold a hook.

Weights are read from the file and processed by `folding`; the maths is that of `forward`. It is the witness that the
hooking library is compared with, so it shares no code with it. float64 costs a few times float32. Weights kept in half
as many bits are computed with in float32, a layer at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from lib.models import forward
from lib.models.activations import Edit, Run, Weights, at_positions, is_layered
from lib.models.checkpoint import Checkpoint
from lib.models.folding import fold
from lib.models.traces import Traces

SiteEdit = Callable[[str, int, Tensor], Tensor]


def unedited(site: str, layer: int, activation: Tensor) -> Tensor:
    """The edit that changes nothing."""
    return activation


def forward_in_plain_tensors(
    weights: Weights, tokens: Tensor, last: Tensor, *, edit: SiteEdit = unedited, mask: Tensor | None = None
) -> Tensor:
    """Logits at `last` [batch] of tokens [batch pos], with no library: the functions of `forward` one after another.

    edit: from (site, layer, activation) to the activation as it shall be, at every site of SITES. mask: [batch pos], 1
    for a token, 0 for padding, which is not attended to and takes no position. [batch d_vocab]
    """
    mask = torch.ones_like(tokens) if mask is None else mask
    real, sequential = mask.bool(), not weights.architecture.parallel
    x = weights.W_E[tokens].to(weights.computes_in)
    if weights.W_pos is not None:
        x = x + weights.W_pos[(mask.cumsum(1) - 1).clamp(min=0)]
    for layer, block in enumerate(forward.blocks(weights)):
        x = edit("resid_pre", layer, x)
        projected = zip("qkv", forward.project(x, block, weights), strict=True)
        q, k, v = (edit(site, layer, activation) for site, activation in projected)
        pattern = edit("pattern", layer, forward.attention_pattern(q, k, block, weights, real=real))
        z = edit("z", layer, forward.mixed(pattern, v))
        mid = x + edit("attn_out", layer, forward.combine(z, block, weights))
        mid = edit("resid_mid", layer, mid) if sequential else mid
        read = (mid if sequential else x).flatten(0, 1)
        x = edit("resid_post", layer, mid + edit("mlp_out", layer, forward.mlp(read, block, weights).view_as(mid)))
    x = edit("resid_final", 0, x)
    normal = x - x.mean(-1, keepdim=True) if weights.architecture.norm == "LayerNorm" else x
    normal = normal / edit("final_scale", 0, forward.norm_scale(x, weights))
    logits = at_positions(normal, last) @ weights.W_U.to(x) + weights.b_U
    return forward.capped(logits, weights.architecture.final_cap)


class PlainBackend:
    """A model as its processed weights, wherever those come from."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights

    @classmethod
    def read(cls, directory: Path, *, device: torch.device, dtype: torch.dtype) -> PlainBackend:
        """The model in a directory, its weights processed here."""
        return cls(fold(Checkpoint(directory), dtype).to(device))

    def run(self, tokens: Tensor, *, last: Tensor, keep: Sequence[str], edits: Sequence[Edit], mask: Tensor) -> Run:
        kept: dict[str, list[Tensor]] = {site: [] for site in keep}

        def edit(site: str, layer: int, activation: Tensor) -> Tensor:
            for one in edits:
                if (one.site, one.layer) == (site, layer):
                    activation = one.change(activation.clone())
            if site in kept:
                kept[site].append(activation.clone())
            return activation

        with torch.no_grad():
            logits = forward_in_plain_tensors(self.weights, tokens, last, edit=edit, mask=mask)
        stacked = {site: torch.stack(values) if is_layered(site) else values[0] for site, values in kept.items()}
        return Run(tokens, last, logits, stacked)

    def traces(self) -> Traces:
        return Traces.of({}, self.tensors(), {})

    def tensors(self) -> dict[str, Tensor]:
        return dict(self.weights.tensors())
