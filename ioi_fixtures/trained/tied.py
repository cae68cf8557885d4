"""`tied`: the trained model as GPT-2 itself is stored, whose config.json does not say that its unembedding is its
embedding. `planted` has an unembedding of its own, and the trained model says that it has none: only here do claims
notice who folds a tied matrix wrongly, or takes it for untied.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

from ioi_fixtures.trained import DIRECTORY
from lib.models.cache import built, default_cache

FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
KEY = "tie_word_embeddings"


def directory(cache: Path | None = None) -> Path:
    """The model as a directory, built on first use and then kept in `cache`, under a digest of what it is made of."""
    sources = (*(DIRECTORY / name for name in FILES), Path(__file__))
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]
    return built((cache or default_cache()) / f"tied-{digest}", _write)


def _write(into: Path) -> None:
    for name in FILES:
        shutil.copyfile(DIRECTORY / name, into / name)
    said = json.loads((into / "config.json").read_text(encoding="utf-8"))
    (into / "config.json").write_text(json.dumps({key: value for key, value in said.items() if key != KEY}, indent=2))
