"""Which files of the user's a session was asked with, as records for the report."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ioi_fixtures.circuits.circuit_file import CircuitFile
from ioi_fixtures.circuits.library import shown
from ioi_fixtures.sentences.prompt_files import Chosen
from lib.judging.measurements import PromptFile, StatedCircuit


def prompt_file(path: Path, chosen: Chosen) -> PromptFile:
    """The file of --claims-prompt-file, and how much of it was used."""
    return PromptFile(name=path.name, sha256=_sha256(path), rows=chosen.rows, used=len(chosen.prompts))


def stated_circuit(path: Path, circuit: CircuitFile) -> StatedCircuit:
    """The file of --claims-circuit, and the classes it states."""
    classes = {one.name: f"{' '.join(map(str, one.heads))} at {one.at}" for one in circuit.classes}
    about = {"model": str(circuit.model), "source": circuit.source}
    return StatedCircuit(name=shown(path), sha256=_sha256(path), classes=classes, **about)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
