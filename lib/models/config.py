"""Where a model's directory is and what its config.json says: found, or refused, before a tensor is read.

A mistyped path, an adapter, another architecture or a setting that is not supported is refused from names and
config.json alone, so this imports nothing that takes long. Layout: the GPT-2 of `transformers`, from whose
configuration and forward pass the table of keys is taken. Only safetensors are read: a pickle runs code.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from lib.suggestions import nearest

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"  # what transformers reads, in this order
ADAPTER = "adapter_config.json"

# The keys of GPT2Config that change what the model computes, or that say its sizes, and their defaults.
DEFAULTS: Mapping[str, object] = MappingProxyType(
    {
        "vocab_size": 50257,
        "n_positions": 1024,
        "n_embd": 768,
        "n_layer": 12,
        "n_head": 12,
        "n_inner": None,
        "activation_function": "gelu_new",
        "layer_norm_epsilon": 1e-5,
        "scale_attn_weights": True,
        "scale_attn_by_inverse_layer_idx": False,
        "reorder_and_upcast_attn": False,
        "add_cross_attention": False,
        "tie_word_embeddings": True,
        # of every configuration
        "is_causal": True,
        "is_encoder_decoder": False,
        "return_dict": True,
        "pruned_heads": None,
        "quantization_config": None,
    }
)
ALIASES = {  # GPT2Config.attribute_map
    "hidden_size": "n_embd",
    "max_position_embeddings": "n_positions",
    "num_attention_heads": "n_head",
    "num_hidden_layers": "n_layer",
}
SIZES = ("vocab_size", "n_positions", "n_embd", "n_layer", "n_head")
ACTIVATIONS = ("gelu_new", "gelu_pytorch_tanh", "gelu", "relu")  # those that lib/models/forward.py computes
# How attention scores are computed. Two say the scale, which is multiplied into queries (`folding`); the third says in
# which precision, and in mixed precision alone, where here that is the caller's choice.
OF_SCORES = ("scale_attn_weights", "scale_attn_by_inverse_layer_idx", "reorder_and_upcast_attn")
# What the keys that are no sizes may say.
SUPPORTED: Mapping[str, tuple] = MappingProxyType(
    {
        "activation_function": ACTIVATIONS,
        "scale_attn_weights": (True, False),
        "scale_attn_by_inverse_layer_idx": (False, True),
        "reorder_and_upcast_attn": (False, True),
        "add_cross_attention": (False,),
        "tie_word_embeddings": (True, False),
        "is_causal": (True,),
        "is_encoder_decoder": (False,),
        "return_dict": (True,),
        "pruned_heads": (None, {}),
        "quantization_config": (None,),
    }
)


class CannotLoad(ValueError):
    """A model was asked for that cannot be had; the message says what to do."""


def locate(source: str | Path) -> Path:
    """The directory that holds a model: `source` itself, or the hub model's snapshot. Raises CannotLoad."""
    directory = Path(source).expanduser()
    if not directory.is_dir():
        if is_path(str(source)):
            raise CannotLoad(_no_such_directory(directory))
        directory = _hub_snapshot(str(source))
    _check_is_no_adapter(directory)
    read_config(directory)
    stored_files(directory)
    return directory


def is_path(source: str) -> bool:
    """Whether a name can only mean a directory: no hub model is called that, or the folder it would be in is here."""
    hub = re.fullmatch(r"[\w-][\w.-]*(/[\w.-]+)?", source)
    return not hub or ("/" in source and Path(source).parent.is_dir())


def _no_such_directory(directory: Path) -> str:
    if directory.is_file():
        return f"{directory} is a file: give the directory that it is in"
    missing = next(path for path in (directory, *directory.parents) if not path.name or path.parent.is_dir())
    folder = missing.parent
    near = nearest(missing.name, [path.name for path in folder.iterdir() if path.is_dir()])
    if near is None:
        return f"there is no directory {directory}: {folder} is there, and holds no directory called {missing.name!r}"
    meant = folder / near / directory.relative_to(missing)
    return f"there is no directory {directory}: did you mean {str(meant if meant.is_dir() else folder / near)!r}?"


def _hub_snapshot(name: str) -> Path:
    from huggingface_hub import snapshot_download  # imported here: only a hub name needs it

    files = ["config.json", ADAPTER, SINGLE, INDEX, "model-*-of-*.safetensors"]
    files += ["tokenizer*", "vocab.json", "merges.txt", "special_tokens_map.json"]
    try:
        directory = Path(snapshot_download(name, allow_patterns=files[:2]))
        if (directory / "config.json").is_file() and not (directory / ADAPTER).is_file():
            read_config(directory)  # before gigabytes are fetched that cannot be tested
            directory = Path(snapshot_download(name, allow_patterns=files))
        return directory
    except CannotLoad:
        raise
    except Exception as error:  # whatever went wrong (no network, no such model, no access), the remedy is the same
        near = nearest(name, [path.name for path in Path().iterdir() if path.is_dir()])
        raise CannotLoad(
            f"{name!r} is no directory, and no hub model of that name could be read from the local cache or the "
            f"network ({type(error).__name__}): give a directory with config.json, *.safetensors and a tokenizer"
            f"{f' (did you mean {near!r}?)' if near else ''}, or run `hf download {name}` once where there is a network"
        ) from error


def _check_is_no_adapter(directory: Path) -> None:
    """transformers would put an adapter onto whatever model lies beside it, or onto the one it was trained from."""
    if not (directory / ADAPTER).is_file():
        return
    base = _read_json(directory / ADAPTER).get("base_model_name_or_path") or "the model it was trained from"
    raise CannotLoad(
        f"{directory} holds an adapter ({ADAPTER}, of {base}), which is no model by itself: load {base} with it "
        "(peft.PeftModel.from_pretrained), merge the two (merge_and_unload()), and save the result with "
        "save_pretrained into another directory"
    )


def read_config(directory: Path) -> dict:
    """What config.json says, with transformers' default for each key of DEFAULTS that it leaves out.

    Raises CannotLoad where there is none, where it is no JSON object, and for a model that is not supported.
    """
    path = directory / "config.json"
    if not path.is_file():
        raise CannotLoad(f"{directory} has no config.json: give a directory saved with save_pretrained")
    stated = _read_json(path)
    if stated.get("model_type") != "gpt2":
        raise CannotLoad(
            f"{directory} holds a {stated.get('model_type')!r} model: the instruments cover model_type 'gpt2' alone"
        )
    for alias, key in ALIASES.items():
        if alias in stated and stated.setdefault(key, stated[alias]) != stated[alias]:
            raise CannotLoad(
                f"{path} says {key} {stated[key]!r} and {alias} {stated[alias]!r}, which is another name of it: "
                "keep the one that the weights have"
            )
    config = {**DEFAULTS, **stated}
    _check_keys(config, path)
    return config


def _check_keys(config: dict, path: Path) -> None:
    for key, supported in SUPPORTED.items():
        if not any(config[key] is value or config[key] == value for value in supported):
            choices = " or ".join(json.dumps(value) for value in supported)
            raise CannotLoad(
                f"{path} says {key!r}: {json.dumps(config[key])}, which changes what the model computes and is not "
                f"supported (here it is {choices}): test a model without it"
            )
    for key in SIZES if config["n_inner"] is None else (*SIZES, "n_inner"):
        if not isinstance(config[key], int) or config[key] < 1:
            raise CannotLoad(f"{path} says {key!r}: {json.dumps(config[key])}: it is a whole number of at least 1")
    if config["n_embd"] % config["n_head"]:
        raise CannotLoad(f"{path} says n_embd {config['n_embd']}, which {config['n_head']} heads (n_head) do not share")
    epsilon = config["layer_norm_epsilon"]
    if not isinstance(epsilon, int | float) or epsilon < 0:
        raise CannotLoad(f"{path} says 'layer_norm_epsilon': {json.dumps(epsilon)}: it is a number of at least 0")


def query_factors(config: Mapping) -> list[float]:
    """What each layer's queries are multiplied by, so that q.k / sqrt(d_head) is what the model's own scale makes of
    it: scale_attn_weights (whether to divide by sqrt(d_head)) and scale_attn_by_inverse_layer_idx (GPT2Attention)."""
    whole = 1.0 if config["scale_attn_weights"] else math.sqrt(config["n_embd"] // config["n_head"])
    inverse = config["scale_attn_by_inverse_layer_idx"]
    return [whole / (layer + 1 if inverse else 1) for layer in range(config["n_layer"])]


def stored_files(directory: Path) -> list[Path]:
    """The files whose tensors transformers would load: model.safetensors, or the shards that its index lists.

    Raises CannotLoad where there are neither, or both, or where a shard is missing.
    """
    if not any(directory.glob("*.safetensors")):
        raise CannotLoad(f"{directory} has no *.safetensors: only safetensors are loaded, save the weights as such")
    index, single = directory / INDEX, directory / SINGLE
    if not index.is_file():
        if not single.is_file():
            found = ", ".join(sorted(path.name for path in directory.glob("*.safetensors")))
            raise CannotLoad(
                f"{directory} has {found}, but neither {SINGLE} nor {INDEX}, which alone say what to load: save the "
                "model there again with save_pretrained"
            )
        return [single]
    shards = sorted(set(weight_map(index).values()))
    absent = [name for name in shards if not (directory / name).is_file()]
    if absent:
        raise CannotLoad(f"{index} lists {absent[0]}, which is not there: fetch or save all {len(shards)} shards again")
    if single.is_file() and shards != [SINGLE]:
        raise CannotLoad(
            f"{directory} has both {SINGLE} and {INDEX}, which lists {', '.join(shards)}: keep the weights that are "
            "meant and move the others elsewhere"
        )
    return [directory / name for name in shards]


def weight_map(index: Path) -> dict[str, str]:
    """The file that holds each tensor, by its name, as an index says. Raises CannotLoad where that is none."""
    listed = _read_json(index).get("weight_map")
    if not isinstance(listed, dict) or not listed:
        raise CannotLoad(f"{index} lists no tensor (weight_map): fetch or save it again")
    return listed


def _read_json(path: Path) -> dict:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise CannotLoad(f"{path} cannot be read ({error}): fetch or save it again") from error
    if not isinstance(content, dict):
        raise CannotLoad(f"{path} cannot be read (it is no JSON object): fetch or save it again")
    return content
