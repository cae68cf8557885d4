"""Prompts as a model reads them, for every fixture and every claim that draws prompts itself.

Prompts carry no start token: the published figures were measured without one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

import pytest

from ioi_fixtures.sentences.prompts import Batch, Prompt, encode
from ioi_fixtures.sentences.tokens import check_words
from lib.judging.recorder import Inconclusive
from lib.models.activations import Run
from lib.models.model import Model

PREPEND_BOS = False


def hash_prompts(prompts: tuple[Prompt, ...]) -> str:
    """sha256 of what the model reads and of the answers it is scored with, in order."""
    read = [(prompt.text, prompt.answers) for prompt in prompts]
    return hashlib.sha256(json.dumps(read).encode()).hexdigest()


def encode_for(model: Model, prompts: tuple[Prompt, ...]) -> Batch:
    """The prompts as the model's tokens, on its device. What the model cannot read ends the session, by name: words
    that are not one token, and prompts longer than it has positions."""
    try:
        batch = encode(prompts, model.tokenizer, prepend_bos=PREPEND_BOS).to(model.device)
    except ValueError as error:
        pytest.exit(f"{model.name} cannot read the prompts: {error}", returncode=pytest.ExitCode.USAGE_ERROR)
    longest, positions = batch.tokens.shape[1], len(model.weights.W_pos)
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
        check_words(model.tokenizer)
    except ValueError as error:
        raise Inconclusive(f"this claim draws prompts of the suite's own words, and {error}") from error
    batch = encode_for(model, prompts)
    return batch, model.run(batch.tokens, last=batch.positions["END"], keep=keep)
