"""Randomly initialised GPT-2s whose attention is sharp and whose interventions have effects, and batches for them.

At the library's initialisation attention is uniform and a head moves the logit difference by 1e-3: two instruments
could differ in everything and still agree. So every matrix is drawn to keep the size of its input, queries and keys
larger than that, and biases and gains are drawn too.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from lib.models.activations import Run
from lib.models.model import Model, load

KEEP = ("resid_pre", "attn_out", "mlp_out", "q", "k", "v", "z", "pattern")


@cache
def random_model(
    *, n_layer: int, n_head: int, n_embd: int, dtype: str = "float64", vocab_size: int = 97, device: str = "cpu"
) -> Model:
    """A seeded random GPT-2 of that shape, loaded as any model under test."""
    with tempfile.TemporaryDirectory() as directory:
        save_random(Path(directory), n_layer=n_layer, n_head=n_head, n_embd=n_embd, vocab_size=vocab_size)
        return load(Path(directory), name="random", device=device, dtype=dtype)


def save_random(directory: Path, *, n_layer: int, n_head: int, n_embd: int, vocab_size: int = 97) -> None:
    """Write a seeded random GPT-2 of that shape, with a tokenizer, into `directory`."""
    torch.manual_seed(1)
    config = GPT2Config(
        vocab_size=vocab_size, n_positions=64, n_layer=n_layer, n_head=n_head, n_embd=n_embd, tie_word_embeddings=False
    )
    plain = GPT2LMHeadModel(config)
    with torch.no_grad():
        for name, weight in plain.named_parameters():
            if weight.ndim == 1:
                weight.add_(torch.randn_like(weight) * 0.1)
            else:
                fan_in = 1 if "wte" in name or "wpe" in name else n_embd if "mlp.c_proj" not in name else 4 * n_embd
                weight.copy_(torch.randn_like(weight) * (1.5 if "c_attn" in name else 1) / fan_in**0.5)
    plain.save_pretrained(directory)
    numbered_words(vocab_size).save_pretrained(directory)


def numbered_words(n: int) -> PreTrainedTokenizerFast:
    """A tokenizer of the words w0, w1 and so on, of which the first stands for all others."""
    words = Tokenizer(WordLevel({f"w{i}": i for i in range(n)}, unk_token="w0"))
    return PreTrainedTokenizerFast(tokenizer_object=words, unk_token="w0")


@contextmanager
def one_thread() -> Iterator[None]:
    """Small matrices on one thread: with several, threads that wait for each other take most of the time."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@dataclass(frozen=True, eq=False)
class Prompts:
    """A batch as the suite's prompts are: right-padded, of mixed lengths, with named positions."""

    tokens: Tensor
    positions: Mapping[str, Tensor]
    answers: Tensor
    template: Tensor

    @property
    def last(self) -> Tensor:
        return self.positions["END"]

    def to(self, device: torch.device) -> Prompts:
        """The same batch on a device."""
        positions = {name: at.to(device) for name, at in self.positions.items()}
        return Prompts(self.tokens.to(device), positions, self.answers.to(device), self.template.to(device))

    def run(self, model: Model) -> Run:
        return model.run(self.tokens, last=self.last, keep=KEEP)


# (IO, S1, S2, END) of three templates, in both orders of the first two names.
LAYOUTS = ((1, 3, 7, 11), (3, 1, 7, 11), (2, 4, 6, 9), (4, 2, 6, 9), (1, 3, 9, 13), (3, 1, 9, 13))


def prompts(n: int, *, vocab_size: int = 97, layouts: tuple = LAYOUTS, seed: int = 0) -> Prompts:
    """`n` prompts of random tokens: S2 repeats S1, the answers are IO and S."""
    torch.manual_seed(seed)
    where = torch.tensor([layouts[i % len(layouts)] for i in range(n)])
    io, s1, s2, end = where.unbind(1)
    tokens = torch.randint(1, vocab_size, (n, max(layout[3] for layout in layouts) + 2))
    rows = torch.arange(n)
    tokens[rows, s2] = tokens[rows, s1]
    tokens[rows, io] = tokens[rows, s1] % (vocab_size - 1) + 1
    tokens[torch.arange(tokens.shape[1]) > end[:, None]] = 0
    positions = {"IO": io, "S1": s1, "S1+1": s1 + 1, "S2": s2, "END": end}
    answers = torch.stack([tokens[rows, io], tokens[rows, s1]], 1)
    return Prompts(tokens, positions, answers, torch.arange(n) % len(layouts) // 2)


def other_subject(batch: Prompts) -> Prompts:
    """The same prompts with another token at S2 alone: equal before it."""
    return _changed(batch, ("S2",), step=5)


def other_names(batch: Prompts) -> Prompts:
    """The same prompts with other tokens at IO, S1 and S2."""
    return _changed(batch, ("IO", "S1", "S2"), step=11)


def _changed(batch: Prompts, names: tuple[str, ...], *, step: int) -> Prompts:
    tokens, rows = batch.tokens.clone(), torch.arange(len(batch.tokens), device=batch.tokens.device)
    for i, name in enumerate(names):
        at = batch.positions[name]
        tokens[rows, at] = (tokens[rows, at] + step + i) % int(batch.tokens.max()) + 1
    return Prompts(tokens, batch.positions, batch.answers, batch.template)
