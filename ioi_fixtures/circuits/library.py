"""Circuits that come with the suite: for each a folder beside this file, with its circuit.toml and a README."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from ioi_fixtures.circuits.circuit_file import HubModel, read_circuit
from lib.models.config import CannotLoad, read_config

FOLDER = Path(__file__).parent
FILE = "circuit.toml"


def path_of(asked: Path) -> Path:
    """The file that is meant: of the circuit of that name, where no file is called like it."""
    ours = FOLDER / asked / FILE
    return ours if ours.is_file() and not asked.exists() else asked


def own_circuit(models: Collection[str]) -> Path | None:
    """The file of the circuit of these models, each a name on the hub, a folder's here, or a directory whose config
    says which it is; None where that is not one and the same for all. Circuits whose model is named in words alone are
    nobody's own: GPT-2 small has claims that name its heads."""
    stated = {path: read_circuit(path).model for path in sorted(FOLDER.glob(f"*/{FILE}"))}
    ids = {path: model.id for path, model in stated.items() if isinstance(model, HubModel)}
    found = {_of(model, ids) for model in models}
    return found.pop() if len(found) == 1 else None


def shown(path: Path) -> str:
    """What a circuit's file is called: with its folder where that is one of these."""
    return str(path.relative_to(FOLDER)) if path.is_relative_to(FOLDER) else path.name


def _of(model: str, ids: Mapping[Path, str]) -> Path | None:
    name = model.partition("@")[0]
    called = (name, _id_in_config(name))
    return next((path for path, id in ids.items() if id in called or path.parent.name == model), None)


def _id_in_config(directory: str) -> str | None:
    """The hub's name of the model in a directory, where its config says it, as transformers writes it."""
    try:
        config = read_config(Path(directory).expanduser())
    except CannotLoad:  # no directory, or one that is refused by name where it is loaded
        return None
    return config.get("_name_or_path")
