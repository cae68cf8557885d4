"""Where a model's directory is and what its config.json says: found, or refused, before a tensor is read.

A mistyped path, another architecture or a setting that is not supported is refused from names and
config.json alone, so this imports nothing that takes long. Which keys there are, and what they may say: `families`.
Only safetensors are read: a pickle runs code.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from lib.models.families import FAMILIES
from lib.models.family import Family
from lib.suggestions import nearest

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"  # what transformers reads, in this order
ADAPTER, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
TOKENIZER = ("tokenizer*", "vocab.json", "merges.txt", "special_tokens_map.json")

ACTIVATIONS = ("gelu_new", "gelu_pytorch_tanh", "gelu", "relu", "silu")  # those that lib/models/forward.py computes
ROTARY_TYPES = ("default", "linear", "llama3")
# What keys of every configuration may say.
SUPPORTED: Mapping[str, tuple] = MappingProxyType(
    {
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
    """The directory that holds a model: `source` itself, or the snapshot of the hub model ID, or ID@REVISION; where
    that is an adapter, it and its base merged. Raises CannotLoad."""
    directory = Path(source).expanduser()
    if not directory.is_dir():
        if is_path(str(source)):
            raise CannotLoad(_no_such_directory(directory))
        directory = _hub_snapshot(str(source))
    if (directory / ADAPTER).is_file():
        from lib.models.adapters import merge  # imported here: only an adapter needs it

        directory = merge(directory)
    read_config(directory)
    stored_files(directory)
    return directory


def is_path(source: str) -> bool:
    """Whether a name can only mean a directory: no hub model is called that, or the folder it would be in is here."""
    hub = re.fullmatch(r"[\w-][\w.-]*(/[\w.-]+)?(@[\w.-]+)?", source)
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
    id, _, revision = name.partition("@")
    one = {"repo_id": id, "revision": revision or None}
    download = f"hf download {id}" + (f" --revision {revision}" if revision else "")
    try:
        directory = Path(snapshot_download(**one, allow_patterns=files[:2]))
        if (directory / ADAPTER).is_file():
            return Path(snapshot_download(**one, allow_patterns=[ADAPTER, ADAPTER_WEIGHTS, *TOKENIZER]))
        if (directory / "config.json").is_file():
            read_config(directory)  # before gigabytes are fetched that cannot be tested
            directory = Path(snapshot_download(**one, allow_patterns=[*files, *TOKENIZER]))
        return directory
    except CannotLoad:
        raise
    except Exception as error:  # whatever went wrong (no network, no such model, no access), the remedy is the same
        near = nearest(name, [path.name for path in Path().iterdir() if path.is_dir()])
        raise CannotLoad(
            f"{name!r} is no directory, and no hub model of that name could be read from the local cache or the "
            f"network ({type(error).__name__}): give a directory with config.json, *.safetensors and a tokenizer"
            f"{f' (did you mean {near!r}?)' if near else ''}, or run `{download}` once where there is a network"
        ) from error


def read_config(directory: Path) -> dict:
    """What config.json says, with transformers' default for each key that it leaves out.

    Raises CannotLoad where there is none, where it is no JSON object, and for a model that is not supported.
    """
    path = directory / "config.json"
    if not path.is_file():
        raise CannotLoad(f"{directory} has no config.json: give a directory saved with save_pretrained")
    stated = read_json(path)
    if stated.get("model_type") not in FAMILIES:
        raise CannotLoad(
            f"{directory} holds a {stated.get('model_type')!r} model, and the instruments cover the model types "
            f"{', '.join(FAMILIES)}: test one of those"
        )
    family = FAMILIES[stated["model_type"]]
    for alias, key in family.aliases.items():
        if alias in stated and stated.setdefault(key, stated[alias]) != stated[alias]:
            raise CannotLoad(
                f"{path} says {key} {stated[key]!r} and {alias} {stated[alias]!r}, which is another name of it: "
                "keep the one that the weights have"
            )
    config = {**family.defaults, **stated} if family.defaults else _with_the_librarys_defaults(stated, path)
    _check_keys(family, config, path)
    return config


def family_of(config: Mapping) -> Family:
    """The family of decoders whose config.json it is."""
    return FAMILIES[config["model_type"]]


def _with_the_librarys_defaults(stated: dict, path: Path) -> dict:
    from transformers import CONFIG_MAPPING  # imported here: nothing else in this file takes long

    try:
        return CONFIG_MAPPING[stated["model_type"]].from_dict(stated).to_dict()
    except Exception as error:  # transformers raises whatever its checks raise, of types that are not its own
        said = " ".join(str(error).split())
        raise CannotLoad(f"{path} cannot be read as transformers reads it ({said}): correct what it names") from error


def _check_keys(family: Family, config: dict, path: Path) -> None:
    supported = {**SUPPORTED, family.activation: ACTIVATIONS, **family.supported}
    supported |= {key: (config[other],) for key, other in family.equal.items()}
    for key, values in supported.items():
        value = config.get(key, values[0])
        if not any(value is one or value == one for one in values):
            choices = " or ".join(json.dumps(one) for one in values)
            raise CannotLoad(
                f"{path} says {key!r}: {json.dumps(value)}, which changes what the model computes and is not "
                f"supported (here it is {choices}): test a model without it"
            )
    sizes = family.all_sizes
    for ours, key in sizes.items():
        value = config.get(key)
        if value is None and ours in ("d_mlp", "d_head", "n_kv_heads"):  # which follow from others
            continue
        if not isinstance(value, int) or value < 1:
            raise CannotLoad(f"{path} says {key!r}: {json.dumps(value)}: it is a whole number of at least 1")
    d_model, n_heads = config[sizes["d_model"]], config[sizes["n_heads"]]
    d_head, n_kv_heads = (config.get(sizes.get(ours)) for ours in ("d_head", "n_kv_heads"))
    if not d_head and d_model % n_heads:
        raise CannotLoad(
            f"{path} says {sizes['d_model']} {d_model}, which {n_heads} heads ({sizes['n_heads']}) do not share"
        )
    if n_kv_heads and n_heads % n_kv_heads:
        raise CannotLoad(
            f"{path} says {sizes['n_kv_heads']} {n_kv_heads}, which {n_heads} heads ({sizes['n_heads']}) do not share"
        )
    for parameters, _ in family.rotary(config, d_head or d_model // n_heads) if family.rotary else ():
        if parameters["rope_type"] not in ROTARY_TYPES:
            raise CannotLoad(
                f"{path} turns queries and keys by rope_type {parameters['rope_type']!r}, and this suite computes "
                f"{', '.join(ROTARY_TYPES)}: test a model with one of those"
            )
    epsilon = config[family.norm_eps] if isinstance(family.norm_eps, str) else family.norm_eps
    if not isinstance(epsilon, int | float) or epsilon < 0:
        raise CannotLoad(f"{path} says {family.norm_eps!r}: {json.dumps(epsilon)}: it is a number of at least 0")


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
    listed = read_json(index).get("weight_map")
    if not isinstance(listed, dict) or not listed:
        raise CannotLoad(f"{index} lists no tensor (weight_map): fetch or save it again")
    return listed


def read_json(path: Path) -> dict:
    """The JSON object in a file. Raises CannotLoad where there is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise CannotLoad(f"{path} cannot be read ({error}): fetch or save it again") from error
    if not isinstance(content, dict):
        raise CannotLoad(f"{path} cannot be read (it is no JSON object): fetch or save it again")
    return content
