"""Stored models whose config.json says something else."""

import json
from collections.abc import Collection
from pathlib import Path


def stated(directory: Path, without: Collection[str] = (), **keys: object) -> Path:
    """The directory, with other keys in its config.json, and `without` some."""
    path = directory / "config.json"
    content = {key: value for key, value in json.loads(path.read_text(encoding="utf-8")).items() if key not in without}
    path.write_text(json.dumps({**content, **keys}), encoding="utf-8")
    return directory
