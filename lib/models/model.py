"""A model under test: `load` turns a directory, a cached hub model or a hub name into a `Model`.

A `Model` has processed weights as plain tensors, a tokenizer, and `run`, which returns plain activations. What runs it
is a backend (`lib.models.backends`), of which nothing else in this suite knows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedTokenizerBase
from transformers.utils.logging import disable_progress_bar

from lib.models.activations import SITES, Edit, Run, Weights, check_site
from lib.models.autocast import refuse_autocast
from lib.models.backends import Backend, default_backend, load_backend
from lib.models.batched_run import run_in_batches
from lib.models.checkpoint import Checkpoint, hash_weights
from lib.models.config import CannotLoad, family_of, locate, read_config
from lib.models.traces import Traces
from lib.one_line import OneLine

__all__ = ["DTYPES", "SITES", "CannotLoad", "Edit", "Model", "choose_device", "hash_weights", "load", "locate"]
__all__ += ["read_config"]

DTYPES = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True, eq=False, repr=False)
class Model(OneLine):
    """A loaded model under test. Weights and activations are read-only by agreement, and a fixture checks it."""

    name: str
    directory: Path
    tokenizer: PreTrainedTokenizerBase
    weights_hash: str  # sha256 over every tensor that is loaded
    prepend_bos: bool  # whether what it is asked begins with its start token
    backend: Backend = field(repr=False)

    @property
    def weights(self) -> Weights:
        return self.backend.weights

    @property
    def device(self) -> torch.device:
        return self.weights.W_Q.device

    @property
    def dtype(self) -> torch.dtype:
        return self.weights.W_Q.dtype

    def run(
        self,
        tokens: Tensor,
        *,
        last: Tensor,
        keep: Sequence[str] = (),
        edits: Sequence[Edit] | Callable[[Tensor], Sequence[Edit]] = (),
        mask: Tensor | None = None,
    ) -> Run:
        """A forward pass of `tokens` [batch pos], right-padded, keeping logits at `last` [batch] alone.

        keep: names of SITES. Every token is attended to as an ordinary one: padding stands after the last token, where
        causality keeps it from mattering. Padding elsewhere needs `mask` [batch pos], 1 for a real token and 0 for
        padding, from which positions are counted too. edits: of all prompts, or a function from the indices of some to
        theirs. Prompts are run, and activations kept, within the session's memory budget (`batched_run`), but for edits
        of all prompts, which cannot be split. Raises ValueError for another name, or for more tokens than the model has
        positions.
        """
        refuse_autocast(self.device)
        for site in (*keep, *(edit.site for edit in (() if callable(edits) else edits))):
            check_site(site, self.weights.architecture)
        positions = self.weights.architecture.n_ctx
        if tokens.shape[1] > positions:
            raise ValueError(f"prompts have {tokens.shape[1]} tokens, but {self.name} has {positions} positions")
        mask = torch.ones_like(tokens) if mask is None else mask
        tokens, last, mask = (tensor.to(self.device) for tensor in (tokens, last, mask))
        if edits and not callable(edits):
            return self.backend.run(tokens, last=last, keep=keep, edits=edits, mask=mask)
        return run_in_batches(self.backend, tokens, last=last, keep=keep, edits=edits or None, mask=mask)

    def probe_prompt(self) -> tuple[Tensor, Tensor]:
        """A fixed short prompt and its last position. [1 8], [1]"""
        tokens = torch.arange(1, 9, device=self.device)[None] % self.weights.W_E.shape[0]
        return tokens, torch.tensor([7], device=self.device)

    def probe(self) -> Tensor:
        """The logits there, in float64 on the CPU: equal, bit for bit, before and after what left no trace.
        [1 d_vocab]"""
        tokens, last = self.probe_prompt()
        return self.run(tokens, last=last).logits.double().cpu()

    def traces(self) -> Traces:
        """Hooks, writes to weights and settings. Costs no forward pass."""
        return self.backend.traces()

    def __repr__(self) -> str:
        return f"<Model {self.name}: {self.weights!r}, {self.dtype}, {self.device}>".replace("torch.", "")


def load(
    source: str | Path,
    *,
    name: str | None = None,
    device: str = "auto",
    dtype: str = "float32",
    backend: str | None = None,
    bos: bool | None = None,
) -> Model:
    """The model in a directory, or the hub model of that name (from its local cache, or else downloaded).

    device: auto, cpu, cuda or cuda:N. dtype: a key of DTYPES. backend: one of BACKENDS, or the default one. bos:
    whether prompts begin with the start token; None is what the tokenizer does by itself. TF32 is switched off,
    gradients too. Raises CannotLoad.
    """
    directory = locate(source)
    chosen = choose_device(device)
    Checkpoint(directory).check()
    tokenizer = read_tokenizer(directory)
    torch.set_float32_matmul_precision("highest")  # no TF32: published effects are smaller than its rounding
    disable_progress_bar()
    return Model(
        name=name or str(source),
        directory=directory,
        tokenizer=tokenizer,
        weights_hash=hash_weights(directory),
        prepend_bos=_begins_with_bos(tokenizer, directory) if bos is None else _has_bos(tokenizer, directory, bos),
        backend=load_backend(backend or default_backend(), directory, device=chosen, dtype=DTYPES[dtype]),
    )


def read_tokenizer(directory: Path) -> PreTrainedTokenizerBase:
    """The tokenizer in a model's directory. Raises CannotLoad where it is another model's, or there is none."""
    if not any((directory / name).is_file() for name in ("tokenizer.json", "vocab.json")):
        # transformers would make one up from config.json, without a single token
        raise CannotLoad(f"{directory} has no tokenizer (tokenizer.json, or vocab.json and merges.txt): save one there")
    try:
        tokenizer = AutoTokenizer.from_pretrained(directory)
    except Exception as error:  # tokenizers raises nothing more specific where its file is damaged
        raise CannotLoad(f"the tokenizer in {directory} cannot be read ({error}): save it there again") from error
    config = read_config(directory)
    d_vocab = config[family_of(config).all_sizes["d_vocab"]]
    if len(tokenizer) > d_vocab:
        raise CannotLoad(
            f"the tokenizer in {directory} knows {len(tokenizer)} tokens, but the model has {d_vocab}: "
            "put the tokenizer there that the model was trained with"
        )
    return tokenizer


def _begins_with_bos(tokenizer: PreTrainedTokenizerBase, directory: Path) -> bool:
    """Whether the tokenizer puts a start token in front of a text by itself. Raises CannotLoad where it puts two."""
    text, bos = "a b", tokenizer.bos_token_id
    plain, by_itself = (tokenizer(text, add_special_tokens=added)["input_ids"] for added in (False, True))
    starts = [at for at in range(len(by_itself)) if by_itself[at : at + len(plain)] == plain]
    added = by_itself[: starts[0]] if starts else []
    if added.count(bos) > 1:
        raise CannotLoad(f"the tokenizer in {directory} puts its start token in front of a text twice: mend its files")
    return bos is not None and bos in added


def _has_bos(tokenizer: PreTrainedTokenizerBase, directory: Path, bos: bool) -> bool:
    if bos and tokenizer.bos_token_id is None:
        raise CannotLoad(f"prompts shall begin with a start token, and the tokenizer in {directory} has none: say no")
    return bos


def choose_device(device: str) -> torch.device:
    """The torch device meant by auto, cpu, cuda or cuda:N. Raises CannotLoad where this machine has no such device, and
    where torch.autocast is on for it."""
    chosen = _device(device)
    refuse_autocast(chosen)
    return chosen


def _device(device: str) -> torch.device:
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not re.fullmatch(r"cpu|cuda(:\d+)?", device):
        raise CannotLoad(f"{device!r} is no device this suite runs on: use auto, cpu, cuda or cuda:N")
    chosen = torch.device(device)
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise CannotLoad(
            f"device {device!r} was asked for, but torch {torch.__version__} sees {torch.cuda.device_count()} CUDA "
            "devices: install a CUDA build of torch on a machine with a GPU, or use --claims-device cpu"
        )
    return chosen
