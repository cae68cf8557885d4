"""The plain way without a hooking library: one pass of plain `transformers` an intervention, edited by module hooks.

The reference for models of every family: nothing of lib computes here. Of lib's tables it takes only what the modules
are called. What a module reads or writes is cut into heads here: z is what the output projection reads, q, k and v are
what the projections write. Where `transformers` forces float32 (norms, softmax), `exactly` lets it keep float64.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from lib.models.config import family_of, read_config
from lib.models.heads import Head

Change = Callable[[Tensor], Tensor]
SITES = ("q", "k", "v", "z", "mlp_out")


@contextmanager
def exactly() -> Iterator[None]:
    """While it lasts, what `transformers` casts to float32 stays in float64. Angles of rotary positions are float32 as
    before: they are cast by another name, and are part of what these models are."""
    cast = Tensor.float
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "float32", torch.float64)
        patch.setattr(Tensor, "float", lambda self, *rest: self if self.dtype is torch.float64 else cast(self, *rest))
        yield


class PlainModel:
    """A model of plain `transformers` in float64, run with some activations changed."""

    def __init__(self, directory: Path) -> None:
        self.config = read_config(directory)
        self.family = family_of(self.config)
        as_stored = self.family.as_stored
        self.model = AutoModelForCausalLM.from_pretrained(
            directory, dtype=torch.float64, attn_implementation="eager", **as_stored
        ).eval()
        sizes = self.family.all_sizes
        self.n_layers, self.n_heads = (self.config[sizes[name]] for name in ("n_layers", "n_heads"))
        self.d_head = self.config.get("head_dim") or self.config[sizes["d_model"]] // self.n_heads

    def logits(self, tokens: Tensor, last: Tensor, changes: Mapping[tuple[str, int], Change]) -> Tensor:
        """Logits at `last` [batch], with some activations changed, by site and layer. [batch d_vocab]"""
        with torch.no_grad(), exactly(), ExitStack() as hooks:
            for (site, layer), change in changes.items():
                hooks.enter_context(self._hooked(site, layer, change))
            logits = self.model(tokens, use_cache=False).logits
        return logits[torch.arange(len(tokens)), last]

    def activations(self, tokens: Tensor) -> dict[tuple[str, int], Tensor]:
        """Everything at SITES, by site and layer."""
        kept: dict[tuple[str, int], Tensor] = {}

        def keep(place: tuple[str, int]) -> Change:
            def change(activation: Tensor) -> Tensor:
                kept[place] = activation.clone()
                return activation

            return change

        places = [(site, layer) for site in SITES for layer in range(self.n_layers)]
        self.logits(tokens, tokens[:, 0] * 0, {place: keep(place) for place in places})
        return kept

    @contextmanager
    def _hooked(self, site: str, layer: int, change: Change) -> Iterator[None]:
        fused = bool(self.family.fused) and site in ("q", "k", "v")
        after = "post_2" if "post_2" in self.family.parts else "out"
        part = {"z": "o", "mlp_out": after}.get(site, "qkv" if fused else site)
        module = self.model.get_submodule(self.family.prefix + self.family.parts[part].format(layer))

        def heads(x: Tensor) -> Tensor:
            return x.unflatten(-1, (-1, self.d_head))

        def of_output(module: torch.nn.Module, args: tuple, output: Tensor) -> Tensor:
            if site == "mlp_out":
                return change(output)
            if not fused:
                return change(heads(output)).flatten(-2)
            by_head = self.family.fused == "by head"
            cut = heads(output).unflatten(-2, (-1, 3) if by_head else (3, -1)).clone()
            axis = -2 if by_head else -3
            which = "qkv".index(site)
            cut.select(axis, which).copy_(change(cut.select(axis, which).clone()))
            return cut.flatten(-3)

        def of_input(module: torch.nn.Module, args: tuple) -> tuple:
            return (change(heads(args[0])).flatten(-2), *args[1:])

        hook = module.register_forward_pre_hook(of_input) if site == "z" else module.register_forward_hook(of_output)
        try:
            yield
        finally:
            hook.remove()

    # One intervention each: tokens [batch pos], last [batch], answers [batch 2]; logit differences [batch].

    def path_patch(
        self,
        base: Tensor,
        source: Tensor,
        last: Tensor,
        answers: Tensor,
        senders: Collection[Head],
        *,
        position: Tensor,
        receivers: Collection[Head] = (),
        inputs: str = "",
        freeze_mlps: bool = False,
    ) -> Tensor:
        """The path from senders at a position to the logits, or to some receivers' inputs at that position."""
        clean, other = self.activations(base), self.activations(source)
        rows = torch.arange(len(base))
        frozen: dict[tuple[str, int], Change] = {}
        for layer in range(self.n_layers):
            z = clean["z", layer].clone()
            for sender in senders:
                if sender[0] == layer:
                    z[rows, position, sender[1]] = other["z", layer][rows, position, sender[1]]
            frozen["z", layer] = lambda _, z=z: z
            if freeze_mlps:
                frozen["mlp_out", layer] = lambda _, kept=clean["mlp_out", layer]: kept
        if not receivers:
            return _difference(self.logits(base, last, frozen), answers)
        noted: dict[int, Tensor] = {}
        for layer in {head[0] for head in receivers}:

            def note(x: Tensor, layer: int = layer) -> Tensor:
                noted[layer] = x.clone()
                return x

            frozen[inputs, layer] = note
        self.logits(base, last, frozen)

        def received(layer: int) -> Change:
            def change(x: Tensor) -> Tensor:
                x = x.clone()
                for head in receivers:
                    if head[0] == layer:
                        x[rows, position, head[1]] = noted[layer][rows, position, head[1]]
                return x

            return change

        return _difference(self.logits(base, last, {(inputs, layer): received(layer) for layer in noted}), answers)

    def replace(
        self,
        tokens: Tensor,
        source: Tensor,
        last: Tensor,
        answers: Tensor,
        *,
        kept: Mapping[Head, Sequence[Tensor]] | None = None,
        replaced: Mapping[Head, Sequence[Tensor]] | None = None,
    ) -> Tensor:
        """Head outputs as in a run of `source`: all but those kept at their positions, or those replaced at theirs."""
        other, rows = self.activations(source), torch.arange(len(tokens))

        def changed(layer: int) -> Change:
            def change(z: Tensor) -> Tensor:
                mask = torch.full(z.shape[:3], kept is not None)
                for head, positions in ((kept if kept is not None else replaced) or {}).items():
                    for position in positions if head[0] == layer else ():
                        mask[rows, position, head[1]] = kept is None
                return torch.where(mask[..., None], other["z", layer], z)

            return change

        changes = {("z", layer): changed(layer) for layer in range(self.n_layers)}
        return _difference(self.logits(tokens, last, changes), answers)


def _difference(logits: Tensor, answers: Tensor) -> Tensor:
    picked = logits.gather(1, answers)
    return picked[:, 0] - picked[:, 1]
