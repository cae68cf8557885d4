"""The prompts of a session, generated or from somebody's file, and what may be said of means over them."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from ioi_fixtures.sentences.known import in_known_words, words_of
from ioi_fixtures.sentences.prompt_files import Chosen, choose_prompts
from ioi_fixtures.sentences.prompts import Prompt, make_prompts
from ioi_fixtures.sentences.tokens import known_words
from ioi_fixtures.sentences.words import NAMES, TEMPLATES
from lib.judging.recorder import Inconclusive
from lib.models.model import Model
from lib.plugin.looks import LOOK
from lib.plugin.pytest_plugin import FEWEST

FEWEST_NAMES = 8  # a prompt has two names, its ABC partners bring up to six others
# Prompts a mean is over, at the least, on average over the prompts that get one. A mean of n resampled outputs keeps
# 1/n of the noise (variance) of a resampled one, so that prompts / groups = 5 leaves a fifth of it; with one prompt a
# group, mean ablation is resampling. Our own 100 prompts have 8 or 9 a template.
A_GROUP = 5


@pytest.fixture(scope="session")
def chosen(model: Model, request: pytest.FixtureRequest) -> Chosen:
    """The IOI prompts of this session, our own or those of --claims-prompt-file, and what to say of them. What cannot
    be used ends the session."""
    option = request.config.option
    try:
        if option.claims_prompt_file is None:
            words = words_of(model.tokenizer)
            drawn = in_known_words(make_prompts(option.claims_prompts, seed=option.claims_seed), words)
            return Chosen(drawn, tuple(filter(None, [words.said])), None)
        limits = {"at_least": FEWEST, "at_most": option.claims_prompts, "seed": option.claims_seed}
        return choose_prompts(option.claims_prompt_file, model.tokenizer, **limits)
    except (OSError, ValueError) as error:
        source = "--claims-prompt-file" if option.claims_prompt_file else f"{model.name} cannot read the prompts"
        pytest.exit(f"{source}: {error}", returncode=pytest.ExitCode.USAGE_ERROR)


@pytest.fixture(scope="session")
def every_prompt(chosen: Chosen) -> tuple[Prompt, ...]:
    """The IOI prompts of this session."""
    return chosen.prompts


@pytest.fixture(scope="session")
def prompts(every_prompt: tuple[Prompt, ...], request: pytest.FixtureRequest) -> tuple[Prompt, ...]:
    """Those that this look at the claims takes: see lib/plugin/looks.py."""
    return every_prompt[: request.config.stash.get(LOOK, None)]


@pytest.fixture(scope="session")
def averaged(model: Model, every_prompt: tuple[Prompt, ...], request: pytest.FixtureRequest) -> tuple[Prompt, ...]:
    """Every prompt, and as many more of the same kind as means need where fewer were asked for: generated prompts need
    not run out, and the first ones stay the same."""
    option, enough = request.config.option, A_GROUP * len(TEMPLATES)
    if option.claims_prompt_file or len(every_prompt) >= enough:
        return every_prompt
    return in_known_words(make_prompts(enough, seed=option.claims_seed), words_of(model.tokenizer))


@pytest.fixture(scope="session")
def mean_groups(model: Model, averaged: tuple[Prompt, ...]) -> torch.Tensor:
    """The group that each prompt's mean is over. Where groups are too small for that to be a mean, the claims that ask
    for it are inconclusive. int64 [prompt]"""
    check_groups(averaged)
    return torch.tensor([prompt.template for prompt in averaged], device=model.device)


@pytest.fixture(scope="session")
def names(model: Model) -> tuple[str, ...]:
    """The first names that the tokenizer has as one token: all, unless a file brings prompts that need fewer."""
    known = known_words(model.tokenizer, NAMES)
    if len(known) < FEWEST_NAMES:
        pytest.exit(
            f"{model.name} has {len(known)} of the suite's first names as one token, and ABC prompts need at least "
            f"{FEWEST_NAMES}: use other names (ioi_fixtures/sentences/words.py)",
            returncode=pytest.ExitCode.USAGE_ERROR,
        )
    return known


def check_groups(prompts: tuple[Prompt, ...]) -> None:
    """Raises Inconclusive where means over the prompts' groups would not be means: see A_GROUP."""
    average = len(prompts) / len({prompt.template for prompt in prompts})
    if average < A_GROUP:
        raise Inconclusive(
            f"{sizes_of_groups(prompts)}, {average:.2g} on average, where mean ablation needs at least {A_GROUP}: one "
            "prompt's chance would stand for the mean; use a file with more prompts of each template and length"
        )


def sizes_of_groups(prompts: tuple[Prompt, ...]) -> str:
    """Over how many prompts means are, as a sentence."""
    sizes = sorted({*Counter(prompt.template for prompt in prompts).values()})
    ends = " to ".join(map(str, dict.fromkeys((sizes[0], sizes[-1]))))
    return f"ABC means are over groups of {ends} prompt{'' if ends == '1' else 's'}"
