"""What heads make of names: which they copy, and the eigenvalues of their OV circuits, computed once a subject."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

from ioi_fixtures.sentences.prompts import Batch, check_words
from lib.instruments.composition import eigenvalue_scores, token_loop
from lib.instruments.copying import copy_hits_of_all, embedding_after_first_mlp
from lib.models.activations import Run, at_positions
from lib.models.model import Model


@pytest.fixture(scope="session")
def name_tokens(model: Model, names: tuple[str, ...]) -> Tensor:
    """Token ids of every first name. int64 [name]"""
    ids = check_words(model.tokenizer, names)
    return torch.tensor([ids[name] for name in names], device=model.device)


@pytest.fixture(scope="session")
def full_ov_eigenvalues(model: Model) -> Tensor:
    """How positive the eigenvalues of each head's full OV circuit are, from tokens after the first MLP to logits.

    Published for none of these heads. The first MLP is part of it, since without that GPT-2 small's logit difference
    reverses its sign (Wang et al. 2022, App. J) and copy scores are published with it. [layer head]
    """
    vocabulary = torch.arange(model.weights.W_E.shape[0], device=model.device)
    embedding = embedding_after_first_mlp(model.weights, vocabulary, dtype=torch.float64)
    return eigenvalue_scores(model.weights, loop=token_loop(embedding, model.weights.W_U))


@pytest.fixture(scope="session")
def names_in_prompts(ioi: Batch, ioi_run: Run) -> tuple[Tensor, Tensor]:
    """The residual stream after the first block where IO, S1 and S2 stand, and the tokens that stand there.
    [name batch d_model], [name batch]"""
    where = [ioi.positions[name] for name in ("IO", "S1", "S2")]
    streams = [at_positions(ioi_run["resid_pre"][1], position) for position in where]
    return torch.stack(streams), torch.stack([at_positions(ioi.tokens, position) for position in where])


@pytest.fixture(scope="session")
def copied(model: Model, name_tokens: Tensor) -> Mapping[int, Tensor]:
    """Which names every head after the first layer copies from the embedding and the first MLP, with its output as it
    is (1) and negated (-1). Two of bool [layer-1 head name]"""
    return copy_hits_of_all(model.weights, embedding_after_first_mlp(model.weights, name_tokens), name_tokens)


@pytest.fixture(scope="session")
def copied_in_prompts(model: Model, names_in_prompts: tuple[Tensor, Tensor]) -> Mapping[int, Tensor]:
    """The share of heads after the first layer that copy each name of the prompts, given the stream after the first
    block, over the places where it stands, with their output as it is (1) and negated (-1). Two of [name]

    One value a name, not one a prompt: a name that nearly every head copies would count as often as it was drawn.
    """
    streams, tokens = names_in_prompts
    return {sign: by_name(hits, tokens) for sign, hits in copy_hits_of_all(model.weights, streams, tokens).items()}


def by_name(hits: Tensor, tokens: Tensor) -> Tensor:
    """Mean of `hits` [layer head place batch] at each of the different `tokens` [place batch], by id. [name]"""
    _, which = tokens.flatten().unique(return_inverse=True)
    sums = torch.zeros(int(which.max()) + 1, dtype=torch.float64, device=hits.device)
    sums.index_add_(0, which, hits.double().mean((0, 1)).flatten())
    return sums / which.bincount()
