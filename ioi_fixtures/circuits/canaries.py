"""Canaries: fixed prompts, and every figure TransformerLens' demos print for them with GPT-2 small.

Source: the notebooks Exploratory Analysis Demo and Activation Patching in TL Demo, whose stored outputs agree from 2022
to 2026 to 2e-4 logits and 2e-5 of a recovered share. Prompts begin with the start token. A canary's figure is a fact
about GPT-2 small on these prompts, so there is nothing to sample and the band is the printed digits' rounding.

Token ids were computed once with GPT-2's own vocabulary and merges. Out of scope: any other model or prompt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from types import MappingProxyType
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ioi_fixtures.sentences.prompts import Batch, Prompt, check_words, encode
from lib.judging.references import Band, Reference
from lib.models.heads import Head
from lib.models.model import Edit, Model

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SHOPS = "When {A} and {B} went to the shops, {S} gave the bag to"
BALL = "When {A} and {B} went to the park, {S} gave the ball to"
APPLE = "When {A} and {B} went to the shops, {S} gave an apple to"
DRINK = "After {A} and {B} went to the park, {S} gave a drink to"
MILK = "After {A} and {B} went to the store, {S} gave a bottle of milk to"


def _prompt(template: int, pattern: str, first: str, second: str, subject: str) -> Prompt:
    io, order = (second, "BABA") if subject == first else (first, "ABBA")
    return Prompt(template, pattern, order, io, s1=subject, s2=subject, answers=(io, subject))


# In the demo's order. Each prompt's neighbour differs from it at S2 alone, so either is the other's corrupted partner.
CANARIES = (
    _prompt(0, SHOPS, "John", "Mary", subject="John"),
    _prompt(0, SHOPS, "John", "Mary", subject="Mary"),
    _prompt(1, BALL, "Tom", "James", subject="James"),
    _prompt(1, BALL, "Tom", "James", subject="Tom"),
    _prompt(2, APPLE, "Dan", "Sid", subject="Sid"),
    _prompt(2, APPLE, "Dan", "Sid", subject="Dan"),
    _prompt(3, DRINK, "Martin", "Amy", subject="Amy"),
    _prompt(3, DRINK, "Martin", "Amy", subject="Martin"),
)
BOTTLE_OF_MILK = (_prompt(4, MILK, "John", "Mary", subject="John"),)

GOLDEN_TOKENS = (
    (50256, 2215, 1757, 290, 5335, 1816, 284, 262, 12437, 11, 1757, 2921, 262, 6131, 284),
    (50256, 2215, 1757, 290, 5335, 1816, 284, 262, 12437, 11, 5335, 2921, 262, 6131, 284),
    (50256, 2215, 4186, 290, 3700, 1816, 284, 262, 3952, 11, 3700, 2921, 262, 2613, 284),
    (50256, 2215, 4186, 290, 3700, 1816, 284, 262, 3952, 11, 4186, 2921, 262, 2613, 284),
    (50256, 2215, 6035, 290, 15686, 1816, 284, 262, 12437, 11, 15686, 2921, 281, 17180, 284),
    (50256, 2215, 6035, 290, 15686, 1816, 284, 262, 12437, 11, 6035, 2921, 281, 17180, 284),
    (50256, 3260, 5780, 290, 14235, 1816, 284, 262, 3952, 11, 14235, 2921, 257, 4144, 284),
    (50256, 3260, 5780, 290, 14235, 1816, 284, 262, 3952, 11, 5780, 2921, 257, 4144, 284),
)
GOLDEN_BOTTLE_OF_MILK = (
    (50256, 3260, 1757, 290, 5335, 1816, 284, 262, 3650, 11, 1757, 2921, 257, 9294, 286, 7545, 284),
)

# What follows is as printed. Logits are those of the centred unembedding.
MEAN_LOGIT_DIFFERENCE = 3.552075
LOGIT_DIFFERENCES = MappingProxyType(  # index into CANARIES -> figure
    dict(enumerate((3.3368, 3.2018, 2.7098, 3.7976, 1.7206, 5.2815, 2.6010, 5.7676)))
)
PROBABILITY_OF_MARY = 0.7007  # after BOTTLE_OF_MILK
LOGITS = MappingProxyType({"Mary": 18.09, "the": 15.38, "John": 15.35, "them": 15.25, "his": 14.84})  # likewise


def _by_head(text: str) -> Mapping[Head, float]:
    words = text.split()
    return MappingProxyType(
        {Head.parse(head): float(figure) for head, figure in zip(words[::2], words[1::2], strict=True)}
    )


HEAD_ATTRIBUTIONS = _by_head(
    """
    9.9 2.986  10.7 -1.899  9.6 1.385  11.10 -0.970  10.0 0.561  10.10 0.480  11.2 -0.388  8.10 0.290  10.6 0.288
    7.9 0.183  10.1 0.171  7.3 0.135  9.0 0.086  8.6 -0.083  11.6 -0.081  9.2 0.068  10.3 0.058  9.5 0.051
    9.7 0.046  11.8 0.043  11.9 -0.040  11.1 -0.040  9.8 -0.038  10.9 -0.035  10.2 -0.034
    """
)
LAYER_ATTRIBUTIONS = MappingProxyType(
    {("attention", 7): 0.280, ("attention", 8): 0.200, ("attention", 9): 4.566, ("attention", 10): -0.412}
    | {("attention", 11): -1.442, ("mlp", 9): 0.117, ("mlp", 10): 0.157, ("mlp", 11): 0.106}
)
# Read off the stream entering each layer, with the final LayerNorm scale of the same run.
LOGIT_LENS = MappingProxyType(
    {1: -0.008, 2: -0.009, 3: -0.006, 4: -0.010, 5: -0.014, 6: -0.009, 7: -0.030, 8: 0.251, 9: 0.460}
    | {10: 5.143, 11: 4.887}
)

# Activation patching: 0 is the corrupted run's logit difference, 1 the clean run's. One head at all positions at once.
RECOVERED_BY_HEAD = MappingProxyType(
    {
        "z": _by_head(
            """
            10.7 -0.480  5.5 0.344  8.6 0.319  11.10 -0.278  8.10 0.278  9.9 0.264  7.9 0.192  6.9 0.130  7.3 0.124
            3.0 0.116  11.2 -0.114  10.0 0.084  10.10 0.061  9.7 0.058  9.6 -0.048  10.6 0.048  6.0 0.040  9.4 -0.037
            4.3 0.031
            """
        ),
        "q": _by_head("10.7 -0.513  5.5 0.344  11.10 -0.337  9.9 0.279  6.9 0.130  3.0 0.120  10.0 0.098"),
        "k": _by_head("10.7 -0.131  11.10 -0.114  5.9 0.040  8.10 -0.026"),
        "v": _by_head("8.6 0.317  8.10 0.273  7.9 0.208  7.3 0.133  9.7 0.069  6.0 0.049"),
        "pattern": _by_head("10.7 -0.505  5.5 0.344  11.10 -0.320  9.9 0.277  6.9 0.130  3.0 0.115  10.0 0.095"),
    }
)
# One head's z at one position.
RECOVERED_AT_POSITION = MappingProxyType(
    {
        "END": _by_head("10.7 -0.476  8.6 0.311  8.10 0.269  9.9 0.259  7.9 0.186"),
        "S2": _by_head("5.5 0.343  6.9 0.131"),
    }
)
# The whole stream, attention output or MLP output of one layer at one position.
RECOVERED_BY_LAYER = MappingProxyType(
    {
        ("resid_pre", "S2"): {5: 0.968, 6: 0.968, 7: 0.923, 8: 0.657, 9: 0.027},
        ("resid_pre", "END"): {7: 0.017, 8: 0.319, 9: 0.938, 10: 1.005, 11: 0.991},
        ("attn_out", "S2"): {3: 0.155, 5: 0.352, 6: 0.120},
        ("attn_out", "END"): {7: 0.298, 8: 0.570, 9: 0.272, 10: -0.193, 11: -0.406},
        ("mlp_out", "S2"): {0: 0.851},
    }
)

# With 9.9's z at END set to zero.
ABLATED = Head(9, 9)
ABLATED_LOGIT_DIFFERENCE = 2.917
SCALE_RATIO = 1.0417  # final LayerNorm scale before over after, mean over prompts
ATTRIBUTION_CHANGES = _by_head(
    """
    10.7 1.188  10.10 0.749  10.0 0.299  10.2 0.197  11.10 -0.165  10.1 0.155  11.2 -0.113  10.6 0.078  9.6 0.057
    11.9 0.013  9.0 0.003  9.7 0.001
    """
)


def as_printed(family: Reference, figure: float) -> Reference:
    """The reference of one printed figure. The family's band is a distance: it is moved to where the figure is."""
    band = Band(above=figure + family.accept.low, below=figure + family.accept.high)
    return family.model_copy(update={"says": f"{figure:g}", "accept": band})


def encode_canaries(prompts: Sequence[Prompt], model: Model) -> Batch:
    """The prompts as tokens on the model's device, start token first: the printed figures were measured with it."""
    return encode(prompts, model.tokenizer, prepend_bos=True).to(model.device)


def wrong_tokens(prompts: Sequence[Prompt], golden: Sequence[Sequence[int]], tokenizer: PreTrainedTokenizerBase) -> int:
    """How many tokens differ from the golden ones, missing and surplus ones included."""
    rows = [
        [tokenizer.bos_token_id, *tokenizer(prompt.text, add_special_tokens=False)["input_ids"]] for prompt in prompts
    ]
    pairs = [pair for row, ids in zip(rows, golden, strict=True) for pair in zip_longest(row, ids)]
    return sum(found != expected for found, expected in pairs)


def single_token(word: str, model: Model) -> Tensor:
    """The token of a word with its leading space, for a batch of one prompt. [1]"""
    return torch.tensor([check_words(model.tokenizer, [word])[word]], device=model.device)


def without_head(head: Head, position: Tensor) -> list[Edit]:
    """The edit that sets one head's z to zero at one position of each prompt. position: [batch]"""

    def zero(z: Tensor) -> Tensor:
        z[torch.arange(len(z), device=z.device), position, head.index] = 0
        return z

    return [Edit("z", head.layer, zero)]
