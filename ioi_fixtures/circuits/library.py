"""Circuits that come with the suite: for each a folder beside this file, with its circuit.toml and a README."""

from __future__ import annotations

from collections.abc import Collection
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
    files = [FOLDER / name / FILE for name in sorted(path.parent.name for path in FOLDER.glob(f"*/{FILE}"))]
    found = {next((path for path in files if _is_of(path, model)), None) for model in models}
    return found.pop() if len(found) == 1 else None


def shown(path: Path) -> str:
    """What a circuit's file is called: with its folder where that is one of these."""
    return str(path.relative_to(FOLDER)) if path.is_relative_to(FOLDER) else path.name


def _is_of(path: Path, model: str) -> bool:
    stated = read_circuit(path).model
    name = model.partition("@")[0]
    return isinstance(stated, HubModel) and (model == path.parent.name or stated.id in (name, _id_in_config(name)))


def _id_in_config(directory: str) -> str | None:
    """The hub's name of the model in a directory, where its config says it, as transformers writes it."""
    try:
        config = read_config(Path(directory).expanduser())
    except CannotLoad:  # no directory, or one that is refused by name where it is loaded
        return None
    return config.get("_name_or_path")
