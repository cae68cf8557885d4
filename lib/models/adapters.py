"""An adapter of PEFT, merged into the model that it was trained from: a directory like any other, kept in the cache.

transformers would put an adapter onto whatever model lies beside it, or onto the one it was trained from, as modules
around its own. Merged in float32, whatever the two are stored in, it is a model that every backend can run. Out of
scope: adapters that peft cannot merge, several at once.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from importlib.util import find_spec
from pathlib import Path

from lib.models.cache import built, default_cache
from lib.models.config import ADAPTER, ADAPTER_WEIGHTS, INDEX, SINGLE, TOKENIZER, CannotLoad, locate, read_json

ORIGIN = "merged.json"  # says in the merged model's directory what it was made of


def merge(directory: Path, *, cache: Path | None = None) -> Path:
    """The model that the adapter in `directory` and its base make, built once. Raises CannotLoad, which says how to
    merge them by hand, where peft or the base is missing, or where the two do not go together."""
    base = str(read_json(directory / ADAPTER).get("base_model_name_or_path") or "")
    if any((directory / name).is_file() for name in (SINGLE, INDEX)):
        raise _refused(directory, base, "a model lies beside it, and which is meant is not said")
    if not base:
        raise _refused(directory, base, f"{ADAPTER} does not say of which model (base_model_name_or_path)")
    if not (directory / ADAPTER_WEIGHTS).is_file():
        raise _refused(directory, base, f"there is no {ADAPTER_WEIGHTS} beside it")
    if find_spec("peft") is None:
        raise _refused(directory, base, "peft, which would merge it, is not installed (our extra [peft])")
    try:
        found = locate(base)
    except CannotLoad as error:
        raise _refused(directory, base, f"its base cannot be had ({error})") from error
    target = (cache or default_cache()) / f"merged-{_digest(directory, found)}"
    return built(target, lambda into: _write(directory, base, found, into))


def merged_from(directory: Path) -> str:
    """What a model was merged from, in words; empty where it was not."""
    origin = directory / ORIGIN
    return "the adapter {adapter}, merged into {base}".format(**read_json(origin)) if origin.is_file() else ""


def _write(adapter: Path, name: str, base: Path, into: Path) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    try:
        model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
        PeftModel.from_pretrained(model, adapter).merge_and_unload(safe_merge=True).save_pretrained(into)
    except Exception as error:  # whatever the two libraries stumble over, the remedy is the same
        said = " ".join(str(error).split()) or type(error).__name__
        raise _refused(adapter, name, f"peft cannot merge it ({said})") from error
    own = any((adapter / file).is_file() for file in ("tokenizer.json", "vocab.json"))
    for pattern in TOKENIZER:
        for file in (adapter if own else base).glob(pattern):
            shutil.copy(file, into)
    (into / ORIGIN).write_text(json.dumps({"adapter": str(adapter), "base": name}), encoding="utf-8")


def _digest(*directories: Path) -> str:
    """Of what lies in them: another file, or the same written anew, is another model."""
    files = sorted(file for directory in directories for file in directory.resolve().iterdir() if file.is_file())
    stated = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return hashlib.sha256(json.dumps(stated).encode()).hexdigest()[:16]


def _refused(directory: Path, base: str, why: str) -> CannotLoad:
    base = base or "the model it was trained from"
    return CannotLoad(
        f"{directory} holds an adapter ({ADAPTER}, of {base}), which is no model by itself, and {why}: correct that, "
        f"or load {base} with it (peft.PeftModel.from_pretrained), merge the two (merge_and_unload()), and save the "
        "result with save_pretrained into another directory"
    )
