"""A randomly initialised model of every family of decoders, with what is unusual about the family made to matter.

Windows are shorter than the prompts, caps small enough to bend scores and logits, heads share keys and values, a part
of each head turns, gains are drawn, embeddings are tied in some. As in `random_model` every matrix keeps the size of
its input, and queries and keys are larger, so that attention is sharp.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType

import torch
from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from ioi_fixtures.controls.random_model import numbered_words
from lib.models.model import Model, load

SPECIAL = "<|endoftext|>"
VOCABULARY, WORDS = 101, 97  # tokenizers of some families add tokens of their own
_COMMON = {"vocab_size": VOCABULARY, "tie_word_embeddings": False, "bos_token_id": 1, "eos_token_id": 2}
_SIZES = {"hidden_size": 24, "num_hidden_layers": 4, "num_attention_heads": 4, "max_position_embeddings": 64}
_LLAMA = {**_COMMON, **_SIZES, "intermediate_size": 40, "num_key_value_heads": 2, "rms_norm_eps": 1e-5}
_GEMMA = {**_LLAMA, "head_dim": 10, "query_pre_attn_scalar": 16, "sliding_window": 5, "tie_word_embeddings": True}
_SLOWED = {
    "rope_type": "llama3",
    "rope_theta": 500.0,
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}
_LOCAL = ["sliding_attention", "full_attention"]

# By a name that says what is unusual: model_type, and what its config says.
FAMILIES: Mapping[str, tuple[str, dict]] = MappingProxyType(
    {
        "gpt2": ("gpt2", {**_COMMON, "n_embd": 24, "n_layer": 4, "n_head": 4, "n_positions": 64}),
        "gpt2, other scales": (
            "gpt2",
            {**_COMMON, "n_embd": 24, "n_layer": 4, "n_head": 4, "n_positions": 64, "tie_word_embeddings": True}
            | {"scale_attn_weights": False, "scale_attn_by_inverse_layer_idx": True},
        ),
        "gpt_neox": (
            "gpt_neox",
            {**_COMMON, **_SIZES, "intermediate_size": 40, "use_parallel_residual": True}
            | {"rope_parameters": {"rope_type": "default", "rope_theta": 100.0, "partial_rotary_factor": 0.34}},
        ),
        "gpt_neox, sequential": (
            "gpt_neox",
            {**_COMMON, **_SIZES, "intermediate_size": 40, "use_parallel_residual": False},
        ),
        "llama": ("llama", {**_LLAMA, "rope_parameters": _SLOWED}),
        "llama, one key/value head": (
            "llama",
            {**_LLAMA, "num_key_value_heads": 1, "head_dim": 8, "attention_bias": True, "tie_word_embeddings": True},
        ),
        "mistral": ("mistral", {**_LLAMA, "sliding_window": 5}),
        "qwen2": ("qwen2", {**_LLAMA, "use_sliding_window": True, "sliding_window": 4, "max_window_layers": 2}),
        "qwen3": ("qwen3", {**_LLAMA, "head_dim": 10}),
        "gemma2": ("gemma2", {**_GEMMA, "attn_logit_softcapping": 2.0, "final_logit_softcapping": 3.0}),
        "gemma3": ("gemma3_text", {**_GEMMA, "layer_types": _LOCAL * 2}),
        "opt": ("opt", {**_COMMON, **_SIZES, "ffn_dim": 40, "word_embed_proj_dim": 24, "pad_token_id": 0}),
        "gpt_neo": (
            "gpt_neo",
            {**_COMMON, "hidden_size": 24, "num_layers": 4, "num_heads": 4, "max_position_embeddings": 64}
            | {"intermediate_size": 40, "window_size": 5, "attention_types": [[["global", "local"], 2]]},
        ),
        "gptj": ("gptj", {**_COMMON, "n_embd": 24, "n_layer": 4, "n_head": 4, "n_positions": 64, "rotary_dim": 4}),
        "phi": (
            "phi",
            {**_COMMON, **_SIZES, "intermediate_size": 40}
            | {"rope_parameters": {"rope_type": "default", "rope_theta": 100.0, "partial_rotary_factor": 0.67}},
        ),
    }
)


@cache
def random_of(name: str, *, dtype: str = "float64", backend: str = "plain") -> Model:
    """The model of that name in FAMILIES, loaded as any model under test."""
    with tempfile.TemporaryDirectory() as directory:
        save_random_of(name, Path(directory))
        return load(Path(directory), name=name, device="cpu", dtype=dtype, backend=backend)


def save_random_of(name: str, directory: Path, *, words: tuple[str, ...] = ()) -> None:
    """Write it, with a tokenizer, into `directory`: of numbered words, or of those given, each one token."""
    model_type, stated = FAMILIES[name]
    tokens = tokens_of(words) if words else numbered_words(WORDS)
    save_random_like(model_type, {**stated, "vocab_size": len(tokens) + VOCABULARY - WORDS}, directory, tokens)


def save_random_like(
    model_type: str, stated: Mapping, directory: Path, tokens: PreTrainedTokenizerFast, *, embeddings: float = 1.0
) -> None:
    """Write a randomly initialised model of that type and config into `directory`, with its tokenizer. embeddings:
    their standard deviation."""
    torch.manual_seed(1)
    plain = AutoModelForCausalLM.from_config(AutoConfig.for_model(model_type, **stated))
    with torch.no_grad():
        for place, weight in plain.named_parameters():
            weight.copy_(_drawn(place, weight, embeddings))
    plain.save_pretrained(directory)
    tokens.save_pretrained(directory)


@cache
def tokens_of(given: tuple[str, ...]) -> PreTrainedTokenizerFast:
    """Byte pairs merged until each of the words given is one token. transformers has a class of its own for some
    families' tokenizers and takes it whatever a file says, so this one is of the kind that all of them are."""
    words = Tokenizer(BPE())
    words.pre_tokenizer, words.decoder = ByteLevel(add_prefix_space=False), ByteLevelDecoder()
    trainer = BpeTrainer(special_tokens=[SPECIAL], initial_alphabet=ByteLevel.alphabet(), show_progress=False)
    words.train_from_iterator(given * 2, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=words, eos_token=SPECIAL, bos_token=SPECIAL, pad_token=SPECIAL)


def _drawn(place: str, weight: torch.Tensor, embeddings: float) -> torch.Tensor:
    """Gains and biases a little other than they were; embeddings of one size; matrices that keep the size of what they
    read, and queries and keys half as large again."""
    noise = torch.randn_like(weight)
    if weight.ndim == 1:
        return weight + noise / 10
    if any(part in place for part in ("embed", "wte", "wpe")) and "embed_out" not in place:
        return noise * embeddings
    reads = weight.shape[0 if "c_attn" in place or "c_fc" in place or "c_proj" in place else 1]
    sharp = any(part in place for part in ("q_proj", "k_proj", "query_key_value", "c_attn"))
    return noise * (1.5 if sharp else 1) / reads**0.5
