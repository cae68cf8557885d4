"""The one place that knows nnsight: a model of plain `transformers`, whose modules are read and written in its traces.

The modules hold the processed weights (`unfolding`), so that what they read and write is what SITES names: values
without their bias, a stream without its mean where norms subtract that. Activations of the stored weights would have to
be converted there and back for every edit. Whether the loaded weights make the same model, the claim about plain
`transformers` says, which reads the stored ones.

All prompts are one trace, and places are visited in the order of the forward pass, as nnsight asks. Attention is eager:
no other kind computes a pattern. Norms and softmax are those of `transformers`, many of which compute in float32
whatever the weights are. Three sites are not simply a module's input or output. The pattern is what eager attention's
dropout hands on. The stream between attention and MLP goes two ways, so that an edit of it is written to both. What the
final norm divides by is taken from what it reads and writes. Out of scope: nnsight's own reading of prompts
(LanguageModel), gradients, generation, remote execution.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor
from transformers import AutoModelForCausalLM

from lib.models.activations import Edit, Run, at_positions, keep_at
from lib.models.checkpoint import Checkpoint
from lib.models.config import CannotLoad
from lib.models.family import Family
from lib.models.folding import FUSED, fold
from lib.models.traces import IN_TRAINING, Traces, plain_settings
from lib.models.unfolding import module_tensors

# How the activations of sites lie in a module's, and the sizes that say so: a stream, heads side by side, attention, or
# q, k and v in one.
CUTS: Mapping[str, tuple[str, tuple[str, ...]]] = MappingProxyType(
    {
        "stream": ("b p m -> 1 b p m", ()),
        "heads": ("b p (head h) -> 1 b p head h", ("h",)),
        "pattern": ("b head query key -> 1 b head query key", ()),
        **{fused: (f"b p {layout} -> qkv b p head h", ("h", "qkv")) for fused, layout in FUSED.items()},
    }
)
STORED_EDITS = ("_edits", "_default_mediators")  # where nnsight 0.8 and 0.5 keep what every later trace is to do
WITHIN = {"block": "norm_1", "attention": "o"}  # modules without a name in `Family.parts`, by what is within them
EAGER = ("attention_interface_1", "attention_interface_0")  # its call; nnsight 0.8 counts how it is named as the first
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")  # of torch


class Place(NamedTuple):
    """Where a trace finds an activation: a part of the model, its input or output, and what sites lie in it."""

    part: str  # of `Family.parts`; or "block", the layer, or "attention", within its heads
    side: str  # "input" or "output"
    sites: tuple[str, ...]
    cut: str = "stream"  # one of CUTS


def places(family: Family) -> tuple[Place, ...]:
    """Those of a layer, in the order of the forward pass."""
    if family.fused:
        projected = [Place("qkv", "output", ("q", "k", "v"), family.fused)]
    else:
        projected = [Place(site, "output", (site,), "heads") for site in "qkv"]
    return (
        Place("block", "input", ("resid_pre",)),
        *projected,
        Place("pattern" if "pattern" in family.parts else "attention", "output", ("pattern",), "pattern"),
        Place("o", "input", ("z",), "heads"),
        Place("post_1" if "post_1" in family.parts else "o", "output", ("attn_out",)),
        Place("norm_2", "input", ("resid_mid",)),
        Place("post_2" if "post_2" in family.parts else "out", "output", ("mlp_out",)),
        Place("block", "output", ("resid_post",)),
    )


FINAL = Place("norm_final", "input", ("resid_final",))


class NnsightBackend:
    """A model of `transformers` with processed weights, run in one trace a batch."""

    def __init__(self, directory: Path, *, device: torch.device, dtype: torch.dtype) -> None:
        from nnsight import NNsight  # imported here: it gives every object of the process a method `save`

        checkpoint = Checkpoint(directory)
        self.family = checkpoint.family
        self.places = places(self.family)
        self.weights = fold(checkpoint, dtype).to(device)
        try:
            stored = AutoModelForCausalLM.from_pretrained(
                directory, dtype=dtype, attn_implementation="eager", **self.family.as_processed
            )
            for name, tensor in module_tensors(self.weights, checkpoint).items():
                place, _, kind = name.rpartition(".")
                # files of a GPT-NeoX call it otherwise than its modules
                head = place == self.family.head
                module = stored.get_output_embeddings() if head else stored.get_submodule(place)
                setattr(module, kind, torch.nn.Parameter(tensor, requires_grad=False))
            self.library_model = NNsight(stored.to(device).eval())
        except Exception as error:  # whatever they stumble over, it is the libraries that cannot read this model
            said = " ".join(str(error).split()) or type(error).__name__
            raise CannotLoad(
                f"nnsight {version('nnsight')} with transformers {version('transformers')} cannot load {directory} "
                f"({said}): use --claims-backend plain, which needs no hooking library"
            ) from error
        for layer in range(self.weights.n_layers if "pattern" not in self.family.parts else 0):
            # nnsight has to know that it is to show operations before they run; 0.5 then replaces the forward again
            _ = self._find("attention", layer).source
        self._forwards = self._forwards_now()

    @torch.no_grad()
    def run(self, tokens: Tensor, *, last: Tensor, keep: Sequence[str], edits: Sequence[Edit], mask: Tensor) -> Run:
        """Raises what nnsight raises where the forward pass does not come to a place that is asked for, or came there
        before."""
        asked = _Asked(keep, edits, self.weights.n_layers, tokens.shape, self.weights.computes_in)
        # transformers would count positions from the padding on: it leaves them to whoever gives the mask
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        with self.library_model.trace(tokens, attention_mask=mask, position_ids=positions, use_cache=False):
            self._through_the_layers(asked)
            asked.logits.append(at_positions(self._through_the_end(asked), last).clone())
        kept = {site: activation.to(asked.wide) for site, activation in asked.kept.items()}
        return Run(tokens, last, asked.logits[0].to(asked.wide), kept)

    def traces(self) -> Traces:
        modules = dict(self._module.named_modules())
        hooks = {name: sum(len(getattr(module, kind)) for kind in HOOKS) for name, module in modules.items()}
        for envoy in self.library_model.modules():
            stored = next((getattr(envoy, name) for name in STORED_EDITS if name in vars(envoy)), ())
            hooks[f"{envoy.path} (edits that nnsight makes in every trace)"] = len(stored)
        settings = plain_settings(self._module.config, "config")
        settings[IN_TRAINING] = sum(module.training for module in modules.values())
        replaced = [name for name, forward in self._forwards_now().items() if forward is not self._forwards.get(name)]
        return Traces.of(hooks, self.tensors(), {**settings, "modules with another forward": ", ".join(replaced)})

    def tensors(self) -> dict[str, Tensor]:
        return {**self.weights.tensors(), **dict(self._module.named_parameters())}

    @property
    def _module(self) -> torch.nn.Module:
        return self.library_model._module

    def _forwards_now(self) -> dict[str, object]:
        """What each module computes with in place of its class's forward: nnsight's, put there when it wrapped it."""
        return {name: vars(module).get("forward") for name, module in self._module.named_modules()}

    # What a trace does: read and write each place that is asked for, as the forward pass comes to it.

    def _through_the_layers(self, asked: _Asked) -> None:
        for layer in range(self.weights.n_layers):
            beside = None  # how the stream that goes past the MLP was changed with what the MLP reads
            for place in self.places:
                change = self._pass(place, layer, asked, add=beside if "resid_post" in place.sites else None)
                if "resid_mid" in place.sites:
                    beside = change

    def _through_the_end(self, asked: _Asked) -> Tensor:
        """Returns the logits [batch pos d_vocab]."""
        self._pass(FINAL, 0, asked)
        if asked.at(("final_scale",)):
            self._pass_final_scale(asked)
        return self.library_model.output.logits

    def _pass(self, place: Place, layer: int, asked: _Asked, *, add: Tensor | None = None) -> Tensor | None:
        """Hand what is at a place to whoever asked for it, and write what they make of it. Returns how a stream that
        was edited there changed."""
        if add is None and not asked.at(place.sites, layer):
            return None
        module = self._find(place.part, layer)
        module = _pattern_in(module.source) if place.part == "attention" else module
        found = taken(module, place.side)
        activation = found if add is None else found + add.view_as(found)
        if activation.ndim == 2:  # an OPT's MLP is given the tokens of all prompts as rows
            activation = activation.view(*asked.shape, -1)
        cut, axes = CUTS[place.cut]
        sizes = {"h": self.weights.d_head, "qkv": 3}
        by_site = rearrange(activation, cut, **{axis: sizes[axis] for axis in axes})
        new = [asked.exchange(site, layer, one) for site, one in zip(place.sites, by_site, strict=True)]
        if add is None and not asked.is_edited(place.sites, layer):
            return None
        together = " -> ".join(reversed(cut.split(" -> ")))
        written = rearrange(torch.stack(new), together).reshape(found.shape)
        put(module, place.side, written)
        return written - found

    def _pass_final_scale(self, asked: _Asked) -> None:
        norm = self._find("norm_final", 0)
        read, normal = norm.input, norm.output
        if self.family.norm == "LayerNorm":
            read = read - read.mean(-1, keepdim=True)
        scale = (read * read).sum(-1, keepdim=True) / (read * normal).sum(-1, keepdim=True)
        new = asked.exchange("final_scale", 0, scale)
        if asked.is_edited(("final_scale",), 0):
            norm.output = normal * (scale / new)

    def _find(self, part: str, layer: int) -> object:
        """What stands for a part of the model in a trace, by a name of `Family.parts` or one of WITHIN."""
        within = WITHIN.get(part)
        names = (self.family.prefix + self.family.parts[within or part].format(layer)).split(".")
        envoy = self.library_model
        for name in names[:-1] if within else names:
            envoy = envoy[int(name)] if name.isdigit() else getattr(envoy, name)
        return envoy


class _Asked:
    """What one run is to keep and to change, and what it has kept."""

    def __init__(
        self, keep: Sequence[str], edits: Sequence[Edit], n_layers: int, shape: torch.Size, wide: torch.dtype
    ) -> None:
        self.keep, self.edits, self.n_layers, self.shape = keep, edits, n_layers, shape
        self.wide = wide  # the number type in which edits are handed activations, and runs keep them
        self.kept: dict[str, Tensor] = {}
        self.logits: list[Tensor] = []  # as a trace can leave them: it has names of its own, and hands back only some

    def at(self, sites: Sequence[str], layer: int | None = None) -> bool:
        """Whether anything is to be done at one of these sites, in that layer or in any."""
        return any(site in self.keep for site in sites) or self.is_edited(sites, layer)

    def is_edited(self, sites: Sequence[str], layer: int | None = None) -> bool:
        return any(edit.site in sites and layer in (None, edit.layer) for edit in self.edits)

    def exchange(self, site: str, layer: int, activation: Tensor) -> Tensor:
        """The activation after its edits, in that order, of which a copy is kept. Never a view that somebody holds."""
        for edit in self.edits:
            if (edit.site, edit.layer) == (site, layer):
                activation = edit.change(activation.to(self.wide, copy=True)).to(activation.dtype)
        if site in self.keep:
            keep_at(self.kept, site, layer, activation, n_layers=self.n_layers)
        return activation


def taken(module: object, side: str) -> Tensor:
    """A module's first input or output: a trace waits here until the forward pass has come so far."""
    whole = getattr(module, side)
    return whole[0] if isinstance(whole, tuple) else whole  # transformers 4 hands on tuples


def put(module: object, side: str, value: Tensor) -> None:
    """Let the forward pass go on with another."""
    whole = getattr(module, side)
    setattr(module, side, (value, *whole[1:]) if isinstance(whole, tuple) else value)


def _pattern_in(operations: object) -> object:
    """The operation of eager attention that hands on the pattern: the dropout in the function that is called there."""
    call = next((name for name in EAGER if hasattr(operations, name)), None)
    if call is None:
        raise RuntimeError(
            f"nnsight {version('nnsight')} finds none of {', '.join(EAGER)} in the attention of transformers "
            f"{version('transformers')}, so that 'pattern' cannot be read: use --claims-backend plain"
        )
    return getattr(operations, call).source.nn_functional_dropout_0
