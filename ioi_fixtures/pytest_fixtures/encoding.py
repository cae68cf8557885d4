"""Prompts as a model reads them, for every fixture and every claim that draws prompts itself.

Prompts begin with a start token where the model is asked so: GPT-2's published figures were measured without one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from ioi_fixtures.circuits.circuit_file import CircuitFile
from ioi_fixtures.sentences.known import in_known_words, words_of
from ioi_fixtures.sentences.prompt_files import says_bos
from ioi_fixtures.sentences.prompts import Batch, Prompt, encode
from lib.judging.recorder import Inconclusive
from lib.models.activations import Run
from lib.models.model import Model


def start_token(asked: str, stated: CircuitFile | None, prompt_file: Path | None) -> bool | None:
    """Whether prompts are to begin with one: as --claims-bos says, else as the circuit file or the prompt file does,
    else None, which is the tokenizer's own habit. Raises ValueError where the two files differ."""
    if asked != "auto":
        return asked == "yes"
    of_circuit, of_prompts = stated.bos if stated else None, says_bos(prompt_file) if prompt_file else None
    if None not in (of_circuit, of_prompts) and of_circuit is not of_prompts:
        raise ValueError(
            f"bos is {of_circuit} in the circuit file and {of_prompts} in {prompt_file}: say --claims-bos yes or no"
        )
    return of_prompts if of_circuit is None else of_circuit


def hash_prompts(prompts: tuple[Prompt, ...]) -> str:
    """sha256 of what the model reads and of the answers it is scored with, in order."""
    read = [(prompt.text, prompt.answers) for prompt in prompts]
    return hashlib.sha256(json.dumps(read).encode()).hexdigest()


def encode_for(model: Model, prompts: tuple[Prompt, ...]) -> Batch:
    """The prompts as the model's tokens, on its device. What the model cannot read ends the session, by name: words
    that are not one token, and prompts longer than it has positions."""
    try:
        batch = encode(prompts, model.tokenizer, prepend_bos=model.prepend_bos).to(model.device)
    except ValueError as error:
        pytest.exit(f"{model.name} cannot read the prompts: {error}", returncode=pytest.ExitCode.USAGE_ERROR)
    longest, positions = batch.tokens.shape[1], model.weights.architecture.n_ctx
    if longest > positions:
        pytest.exit(
            f"{model.name} cannot read the prompts: the longest has {longest} tokens, and the model {positions} "
            "positions; use shorter prompts, or another model",
            returncode=pytest.ExitCode.USAGE_ERROR,
        )
    return batch


def run_on(model: Model, prompts: tuple[Prompt, ...], *, keep: Sequence[str] = ()) -> tuple[Batch, Run]:
    """The prompts as the model's tokens, and the model on them: for prompts that a claim draws itself, from our own
    words. A model that lacks some of them can be asked about a file's prompts alone: then the claim is inconclusive."""
    try:
        prompts = in_known_words(prompts, words_of(model.tokenizer))
    except ValueError as error:
        raise Inconclusive(f"this claim draws prompts of the suite's own words, and {error}") from error
    batch = encode_for(model, prompts)
    return batch, model.run(batch.tokens, last=batch.positions["END"], keep=keep)
