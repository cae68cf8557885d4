"""The one place that knows the hooking library's API (TransformerLens' TransformerBridge).

`load` turns a directory, a cached hub model or a hub name into a `Model`: processed weights as plain tensors, a
tokenizer, and `run`, which returns plain activations. Reference: TransformerLens 4.3, `boot_transformers` followed by
`enable_compatibility_mode` (LayerNorm folded, writing weights and unembedding centred, eager attention).
Out of scope: architectures other than GPT-2's, gradients, generation.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import safe_open
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge
from transformers import AutoTokenizer, PreTrainedTokenizerBase
from transformers.utils.logging import disable_progress_bar

from lib.activations import Run, Weights, at_positions
from lib.one_line import OneLine

# Where an activation lives in the hooking library, and its shape. "{}" is the layer; sites without it exist once.
SITES = {
    "resid_pre": "blocks.{}.hook_resid_pre",  # batch pos d_model: entering the block
    "resid_mid": "blocks.{}.hook_resid_mid",  # batch pos d_model: between attention and MLP
    "resid_post": "blocks.{}.hook_resid_post",  # batch pos d_model: leaving the block
    "attn_out": "blocks.{}.hook_attn_out",  # batch pos d_model: sum over heads + b_O
    "mlp_out": "blocks.{}.hook_mlp_out",  # batch pos d_model
    "q": "blocks.{}.attn.hook_q",  # batch pos head d_head
    "k": "blocks.{}.attn.hook_k",
    "v": "blocks.{}.attn.hook_v",
    "z": "blocks.{}.attn.hook_z",
    "pattern": "blocks.{}.attn.hook_pattern",  # batch head query key
    "resid_final": "ln_final.hook_in",  # batch pos d_model: leaving the last block
    "final_scale": "ln_final.hook_scale",  # batch pos 1: what the final LayerNorm divides by
}
DTYPES = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.bfloat16, "float16": torch.float16}


class CannotLoad(ValueError):
    """A model was asked for that cannot be had; the message says what to do."""


class Edit(NamedTuple):
    """Replace the activation at `site` of `layer` by `change(activation)` while a run lasts (layer 0 if it is one)."""

    site: str
    layer: int
    change: Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False, repr=False)
class Model(OneLine):
    """A loaded model under test. Weights and activations are read-only by agreement, and a fixture checks it."""

    name: str
    directory: Path
    weights: Weights
    tokenizer: PreTrainedTokenizerBase
    weights_hash: str  # sha256 over every stored tensor
    bridge: TransformerBridge = field(repr=False)

    @property
    def device(self) -> torch.device:
        return self.weights.W_Q.device

    @property
    def dtype(self) -> torch.dtype:
        return self.weights.W_Q.dtype

    def run(self, tokens: Tensor, *, last: Tensor, keep: Sequence[str] = (), edits: Sequence[Edit] = ()) -> Run:
        """One forward pass of `tokens` [batch pos], right-padded, keeping logits at `last` [batch] alone.

        Every token is attended to as an ordinary one: padding stands after the last token, where causality keeps it
        from mattering. Raises RuntimeError where a hook does not fire exactly once, since a hook that is never
        called is how an intervention silently does nothing.
        """
        _check_sites([*keep, *(edit.site for edit in edits)])
        tokens, last = tokens.to(self.device), last.to(self.device)
        kept: dict[str, Tensor] = {}
        hooks = [_edit_hook(edit) for edit in edits]
        for site in keep:
            hooks += [
                _Hook(_hook_name(site, layer), partial(_keep, kept, site, layer, self)) for layer in self._layers(site)
            ]
        with torch.no_grad(), self._hooked(hooks):
            logits = self.bridge(tokens, prepend_bos=False, attention_mask=torch.ones_like(tokens))
        return Run(tokens, last, at_positions(logits, last).clone(), kept)

    def fingerprint(self) -> str:
        """sha256 of the logits on a fixed short prompt: equal, bit for bit, before and after what left no trace."""
        tokens = torch.arange(1, 9, device=self.device)[None] % self.weights.W_E.shape[0]
        logits = self.run(tokens, last=torch.tensor([7])).logits
        return hashlib.sha256(logits.double().cpu().numpy().tobytes()).hexdigest()

    def traces(self) -> tuple[int, int]:
        """How many hooks are attached, and how often weights have been written to. Costs no forward pass."""
        points = self.bridge.hook_dict.values()
        hooks = sum(len(point.fwd_hooks) + len(point.bwd_hooks) for point in points)
        tensors = [*self.weights.tensors().values(), *self.bridge.original_model.parameters()]
        return hooks, sum(tensor._version for tensor in tensors)

    def _layers(self, site: str) -> range:
        return range(self.weights.n_layers if "{}" in SITES[site] else 1)

    @contextmanager
    def _hooked(self, hooks: list[_Hook]) -> Iterator[None]:
        with self.bridge.hooks(fwd_hooks=[(hook.name, hook) for hook in hooks]):
            yield
        for hook in hooks:
            if hook.fired != 1:
                raise RuntimeError(
                    f"hook {hook.name!r} fired {hook.fired} times in one forward pass, not once: "
                    "the hooking library's hook points have changed"
                )

    def __repr__(self) -> str:
        return f"<Model {self.name}: {self.weights!r}, {self.dtype}, {self.device}>".replace("torch.", "")


@dataclass(eq=False)
class _Hook:
    """A hook that counts how often it fired."""

    name: str
    function: Callable[[Tensor], Tensor | None]
    fired: int = 0

    def __call__(self, activation: Tensor, hook: object) -> Tensor | None:
        self.fired += 1
        return self.function(activation)


def _edit_hook(edit: Edit) -> _Hook:
    return _Hook(_hook_name(edit.site, edit.layer), lambda activation: edit.change(activation.clone()))


def _keep(kept: dict[str, Tensor], site: str, layer: int, model: Model, activation: Tensor) -> None:
    if "{}" not in SITES[site]:
        kept[site] = activation.clone()
        return
    if site not in kept:
        kept[site] = activation.new_empty((model.weights.n_layers, *activation.shape))
    kept[site][layer] = activation


def _hook_name(site: str, layer: int) -> str:
    return SITES[site].format(layer)


def _check_sites(sites: list[str]) -> None:
    for site in sites:
        if site not in SITES:
            raise ValueError(f"{site!r} is not an activation this suite knows: use one of {', '.join(SITES)}")


def load(source: str | Path, *, name: str | None = None, device: str = "auto", dtype: str = "float32") -> Model:
    """The model in a directory, or the hub model of that name (from its local cache, or else downloaded).

    device: auto, cpu, cuda or cuda:N. dtype: a key of DTYPES. TF32 is switched off, gradients too. Raises CannotLoad.
    """
    directory = locate(source)
    chosen = choose_device(device)
    torch.set_float32_matmul_precision("highest")  # no TF32: published effects are smaller than its rounding
    disable_progress_bar()
    bridge = TransformerBridge.boot_transformers(str(directory), device=chosen, dtype=DTYPES[dtype])
    bridge.enable_compatibility_mode(disable_warnings=True)
    bridge.eval()
    bridge.original_model.requires_grad_(False)
    return Model(
        name=name or str(source),
        directory=directory,
        weights=_weights(bridge),
        tokenizer=AutoTokenizer.from_pretrained(directory),
        weights_hash=hash_weights(directory),
        bridge=bridge,
    )


def _weights(bridge: TransformerBridge) -> Weights:
    names = [name for name, kind in Weights.__annotations__.items() if kind == "Tensor"]
    tensors = {name: getattr(bridge, name).detach() for name in names}
    return Weights(**tensors, layer_norm_eps=bridge.cfg.eps, activation=bridge.cfg.act_fn)


def choose_device(device: str) -> torch.device:
    """The torch device meant by auto, cpu, cuda or cuda:N. Raises CannotLoad where this machine has no such device."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not re.fullmatch(r"cpu|cuda(:\d+)?", device):
        raise CannotLoad(f"{device!r} is no device this suite runs on: use auto, cpu, cuda or cuda:N")
    chosen = torch.device(device)
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise CannotLoad(
            f"device {device!r} was asked for, but torch {torch.__version__} sees {torch.cuda.device_count()} CUDA "
            "devices: install a CUDA build of torch on a machine with a GPU, or use --claims-device cpu"
        )
    return chosen


def locate(source: str | Path) -> Path:
    """The directory that holds a model: `source` itself, or the hub model's snapshot. Raises CannotLoad."""
    directory = Path(source)
    if not directory.is_dir():
        directory = _hub_snapshot(str(source))
    if not (directory / "config.json").is_file():
        raise CannotLoad(f"{directory} has no config.json: give a directory saved with save_pretrained")
    model_type = read_config(directory).get("model_type")
    if model_type != "gpt2":
        raise CannotLoad(f"{directory} holds a {model_type!r} model: the instruments cover model_type 'gpt2' alone")
    if not any(directory.glob("*.safetensors")):
        raise CannotLoad(f"{directory} has no *.safetensors: only safetensors are loaded, save the weights as such")
    return directory


def _hub_snapshot(name: str) -> Path:
    from huggingface_hub import snapshot_download  # imported here: only a hub name needs it

    wanted = ["config.json", "model*.safetensors*", "tokenizer*", "vocab.json", "merges.txt", "special_tokens_map.json"]
    try:
        return Path(snapshot_download(name, allow_patterns=wanted))
    except Exception as error:  # whatever went wrong (no network, no such model, no access), the remedy is the same
        raise CannotLoad(
            f"{name!r} is no directory, and no hub model of that name could be read from the local cache or the "
            f"network ({type(error).__name__}): give a directory with config.json, *.safetensors and a tokenizer, or "
            f"run `hf download {name}` once where there is a network"
        ) from error


def read_config(directory: Path) -> dict:
    """The model's config.json."""
    return json.loads((directory / "config.json").read_text())


def hash_weights(directory: Path) -> str:
    """sha256 over name, dtype, shape and bytes of every stored tensor, however they are spread over files."""
    digest = hashlib.sha256()
    for path in sorted(directory.glob("*.safetensors")):
        with safe_open(path, framework="pt") as stored:
            for name in sorted(stored.keys()):
                tensor = stored.get_tensor(name)
                digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
                digest.update(tensor.contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
