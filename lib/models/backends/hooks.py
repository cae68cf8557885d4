"""The one place that knows the hooking library's API: TransformerLens' TransformerBridge and HookedTransformer.

TransformerLens 2 has HookedTransformer, 3 both, 4 the bridge. The bridge is booted and put into compatibility mode;
HookedTransformer is built from config and converted weights, since from_pretrained knows only names on the hub. Both
process weights alike (LayerNorm folded, writing weights and unembedding centred, value biases folded) and compute
attention eagerly. Out of scope: architectures other than GPT-2's, gradients, generation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import partial, reduce
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from lib.models.activations import Edit, Run, Weights, at_positions, keep_at, layers_of
from lib.models.architecture import architecture_of
from lib.models.config import CannotLoad, family_of, read_config
from lib.models.families import GPT2_DEFAULTS, GPT2_SCORES, query_factors
from lib.models.folding import PROCESSING
from lib.models.traces import IN_TRAINING, Traces, plain_settings

# Where the library keeps each of SITES. "{}" is the layer.
HOOK_NAMES = {
    "resid_pre": "blocks.{}.hook_resid_pre",
    "resid_mid": "blocks.{}.hook_resid_mid",
    "resid_post": "blocks.{}.hook_resid_post",
    "attn_out": "blocks.{}.hook_attn_out",
    "mlp_out": "blocks.{}.hook_mlp_out",
    "q": "blocks.{}.attn.hook_q",
    "k": "blocks.{}.attn.hook_k",
    "v": "blocks.{}.attn.hook_v",
    "z": "blocks.{}.attn.hook_z",
    "pattern": "blocks.{}.attn.hook_pattern",
    "resid_final": "ln_final.hook_in",
    "final_scale": "ln_final.hook_scale",
}


class HookedBackend:
    """A model of the hooking library, run with hooks that are counted and taken away again."""

    def __init__(self, kind: str, directory: Path, *, device: torch.device, dtype: torch.dtype) -> None:
        build = _bridge if kind == "bridge" else _hooked_transformer
        try:
            self.library_model = build(directory, device, dtype)
        except Exception as error:  # whatever it stumbles over, it is the library that cannot read this model
            said = " ".join(str(error).split()) or type(error).__name__
            raise CannotLoad(
                f"transformer-lens {version('transformer-lens')} cannot load {directory} ({said}): use "
                "--claims-backend plain, which needs no hooking library"
            ) from error
        self.library_model.eval()
        self.library_model.requires_grad_(False)
        self.weights = _weights(self.library_model, read_config(directory))
        last = (
            f"blocks.{self.weights.n_layers - 1}.hook_resid_post"  # the same tensor, where LayerNorms have no hook_in
        )
        self._names = HOOK_NAMES if "ln_final.hook_in" in self._points else {**HOOK_NAMES, "resid_final": last}

    def run(self, tokens: Tensor, *, last: Tensor, keep: Sequence[str], edits: Sequence[Edit], mask: Tensor) -> Run:
        """Raises RuntimeError where a hook does not fire exactly once, since a hook that is never called is how an
        intervention silently does nothing."""
        kept: dict[str, Tensor] = {}
        wide = self.weights.computes_in
        hooks = [_Hook(self._name(edit.site, edit.layer), partial(_change, edit, wide)) for edit in edits]
        for site in keep:
            hooks += [
                _Hook(self._name(site, layer), partial(_keep, kept, site, layer, self.weights))
                for layer in layers_of(site, self.weights)
            ]
        with torch.no_grad(), self._hooked(hooks):
            logits = self.library_model(tokens, prepend_bos=False, attention_mask=mask)
        return Run(tokens, last, at_positions(logits, last).to(wide, copy=True), kept)

    def traces(self) -> Traces:
        points = self._points
        names = sorted(points, key=len, reverse=True)  # a point has several names, of which the shortest is known
        named = {id(points[name]): name for name in names}
        counted = {name: points[name] for name in named.values()}
        hooks = {name: len(point.fwd_hooks) + len(point.bwd_hooks) for name, point in counted.items()}
        in_training = sum(module.training for module in self.library_model.modules())
        settings = plain_settings(self.library_model.cfg, "cfg")
        return Traces.of(hooks, self.tensors(), {**settings, IN_TRAINING: in_training})

    def tensors(self) -> dict[str, Tensor]:
        parameters = self.library_model.named_parameters()
        return {**self.weights.tensors(), **{_plain_name(name): tensor for name, tensor in parameters}}

    @property
    def _points(self) -> dict:
        """Every hook point by each of its names. The library puts this together anew each time it is asked."""
        return self.library_model.hook_dict

    def _name(self, site: str, layer: int) -> str:
        return self._names[site].format(layer)

    @contextmanager
    def _hooked(self, hooks: list[_Hook]) -> Iterator[None]:
        with self.library_model.hooks(fwd_hooks=[(hook.name, hook) for hook in hooks]):
            yield
        for hook in hooks:
            if hook.fired != 1:
                raise RuntimeError(
                    f"hook {hook.name!r} fired {hook.fired} times in one forward pass, not once: "
                    "the hooking library's hook points have changed"
                )


def _weights(library_model: torch.nn.Module, config: dict) -> Weights:
    """The tensors that the library hands out, by their names there; zeros for the biases that a model lacks."""
    family = family_of(config)
    architecture = architecture_of(family, config)

    def handed_out(name: str, *, owner: object = library_model) -> Tensor | None:
        tensor = getattr(owner, name, None)
        return tensor.detach() if isinstance(tensor, Tensor) else None

    def gains(*path: str) -> Tensor | None:
        norms = [reduce(lambda owner, name: getattr(owner, name, None), path, block) for block in library_model.blocks]
        return None if None in norms else torch.stack([norm.weight.detach() for norm in norms]) + family.gain_offset

    tensors = {field.name: handed_out(field.name) for field in fields(Weights) if field.name != "architecture"}
    if "positions" in family.parts:
        W_pos = handed_out("W_pos", owner=library_model.pos_embed)  # which version 3's bridge does not hand on
        tensors["W_pos"] = W_pos[-architecture.n_ctx :]  # it may have rows before the first position's
    for name, size in {"b_Q": "W_Q", "b_K": "W_K", "b_V": "W_V"}.items():
        tensors[name] = _or_zeros(tensors[name], tensors[size], tensors[size].shape[:2] + tensors[size].shape[3:])
    for name, size in {"b_O": "W_E", "b_in": "W_in", "b_out": "W_E", "b_U": "W_U"}.items():
        layered = () if name == "b_U" else (architecture.n_layers,)
        tensors[name] = _or_zeros(tensors[name], tensors[size], (*layered, tensors[size].shape[-1]))
    factor = family.embedding_scale(config)
    tensors["W_E"] = tensors["W_E"] if factor == 1 else tensors["W_E"] * factor
    if architecture.post_norms:
        tensors |= {"post_attention": gains("ln1_post"), "post_mlp": gains("ln2_post")}
    if architecture.qk_norm:
        tensors |= {f"{site}_norm": gains("attn", f"{site}_norm") for site in "qk"}
    return Weights(architecture=architecture, **tensors)


def _or_zeros(bias: Tensor | None, like: Tensor, shape: Sequence[int]) -> Tensor:
    return like.new_zeros(shape) if bias is None else bias


@dataclass(eq=False)
class _Hook:
    """A hook that counts how often it fired."""

    name: str
    function: Callable[[Tensor], Tensor | None]
    fired: int = 0

    def __call__(self, activation: Tensor, hook: object) -> Tensor | None:
        self.fired += 1
        return self.function(activation)


def _plain_name(name: str) -> str:
    """A parameter's name without what the library puts around each module of transformers."""
    return name.replace("_original_component.", "")


def _change(edit: Edit, wide: torch.dtype, activation: Tensor) -> Tensor:
    """What an edit makes of an activation, which it is handed as runs keep it."""
    return edit.change(activation.to(wide, copy=True)).to(activation.dtype)


def _keep(kept: dict[str, Tensor], site: str, layer: int, weights: Weights, activation: Tensor) -> None:
    activation = activation.to(weights.computes_in)  # the library has LayerNorm's scale in float32 at least
    keep_at(kept, site, layer, activation, n_layers=weights.n_layers)


def _bridge(directory: Path, device: torch.device, dtype: torch.dtype) -> torch.nn.Module:
    from transformer_lens.model_bridge import TransformerBridge  # imported here: version 2 has none

    # Its own reading of a checkpoint is under test, but it ignores scale_attn_weights (TransformerLens 4.3).
    given = {"hf_model": _with_scaled_queries(directory, dtype).to(device)} if _sets_scores(directory) else {}
    bridge = TransformerBridge.boot_transformers(str(directory), device=device, dtype=dtype, **given)
    bridge.enable_compatibility_mode(disable_warnings=True, **PROCESSING)
    return bridge


def _hooked_transformer(directory: Path, device: torch.device, dtype: torch.dtype) -> torch.nn.Module:
    from transformer_lens import HookedTransformer, HookedTransformerConfig  # imported here: version 4 has none
    from transformer_lens.pretrained.weight_conversions import convert_gpt2_weights

    stored = _with_scaled_queries(directory, dtype)
    config = stored.config
    cfg = HookedTransformerConfig(
        n_layers=config.n_layer,
        n_heads=config.n_head,
        d_model=config.n_embd,
        d_head=config.n_embd // config.n_head,
        d_mlp=config.n_inner or 4 * config.n_embd,
        d_vocab=config.vocab_size,
        n_ctx=config.n_positions,
        eps=config.layer_norm_epsilon,
        act_fn=config.activation_function,
        normalization_type="LN",
        original_architecture="GPT2LMHeadModel",
        device=str(device),
        dtype=dtype,
    )
    hooked = HookedTransformer(cfg)
    hooked.load_and_process_state_dict(
        convert_gpt2_weights(stored, cfg),
        **PROCESSING,
    )
    return hooked.to(device, print_details=False)


def _sets_scores(directory: Path) -> bool:
    config = read_config(directory)
    return family_of(config).query_factors is not None and any(config[key] != GPT2_DEFAULTS[key] for key in GPT2_SCORES)


def _with_scaled_queries(directory: Path, dtype: torch.dtype) -> torch.nn.Module:
    """The stored model without settings of its own for the scale of attention: see `folding`."""
    stored = AutoModelForCausalLM.from_pretrained(
        directory, dtype=dtype, attn_implementation="eager", **{key: GPT2_DEFAULTS[key] for key in GPT2_SCORES}
    )
    queries = stored.config.n_embd
    with torch.no_grad():
        for block, factor in zip(stored.transformer.h, query_factors(read_config(directory)), strict=True):
            block.attn.c_attn.weight[:, :queries] *= factor
            block.attn.c_attn.bias[:queries] *= factor
    return stored
