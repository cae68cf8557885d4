"""Reading attention weights from a checkpoint: the same numbers as a loaded model's, or a list of what is missing."""

import json
import shutil
from dataclasses import fields

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import GPT2Config, GPT2LMHeadModel

from lib.models.attention_weights import AttentionWeights, read_attention_weights
from lib.models.checkpoint import missing_tensors
from lib.models.model import CannotLoad, load
from tests.support.rounding import agree, of_folding
from tests.support.stored_models import stated
from tests.support.word_tokenizer import word_level

NAMES = [field.name for field in fields(AttentionWeights) if field.name != "post_attention"]  # which no GPT-2 has


@pytest.fixture(scope="module")
def small_directory(tmp_path_factory):
    """A saved GPT-2 of three layers whose gains and biases are all drawn: none of the steps of processing is idle."""
    directory = tmp_path_factory.mktemp("small-gpt2")
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=11, n_positions=8, n_layer=3, n_head=4, n_embd=32))
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.3)
    model.save_pretrained(directory)
    word_level(["a", "b"]).save_pretrained(directory)
    return directory


@pytest.fixture(scope="module")
def loaded(small_directory):
    return AttentionWeights.of(load(small_directory, device="cpu", dtype="float64").weights)


def furthest(left, right):
    return {name: float((getattr(left, name) - getattr(right, name)).abs().max()) for name in NAMES}


def all_agree(left, right, stored):
    """Whether what was read and what was loaded agree but for folding in float32 what is stored in a directory."""
    pairs = {name: (getattr(left, name), getattr(right, name)) for name in NAMES}
    return all(agree(*pair, of_folding(name, pair[0], stored)) for name, pair in pairs.items())


def read(directory):
    return read_attention_weights(directory, dtype=torch.float64)


def edited(directory, tmp_path, change):
    """A copy of a checkpoint whose stored tensors went through `change`."""
    shutil.copy(directory / "config.json", tmp_path)
    save_file(change(load_file(directory / "model.safetensors")), tmp_path / "model.safetensors")
    return tmp_path


def test_the_reader_agrees_with_the_loaded_model(small_directory, loaded):
    assert all_agree(read(small_directory), loaded, small_directory)


def test_the_reader_agrees_with_the_reference_model(planted_model):
    directory = planted_model.directory
    assert all_agree(read(directory), AttentionWeights.of(planted_model.weights), directory)


@pytest.mark.parametrize(
    ("name", "seen_in"),
    [
        ("h.1.ln_1.weight", {"W_Q", "W_K", "W_V"}),
        ("h.1.ln_1.bias", {"b_Q", "b_K", "b_O"}),
        ("h.1.attn.c_attn.weight", {"W_Q", "W_K", "W_V", "b_Q", "b_K", "b_O"}),
        ("h.1.attn.c_attn.bias", {"b_Q", "b_K", "b_O"}),
        ("h.1.attn.c_proj.weight", {"W_O", "b_O"}),
        ("h.1.attn.c_proj.bias", {"b_O"}),
    ],
)
def test_every_stored_tensor_counts_where_it_should(name, seen_in, small_directory, loaded, tmp_path):
    torch.manual_seed(1)
    noise = torch.randn(4096)

    def shift(tensors):
        tensor = tensors[f"transformer.{name}"]
        return {**tensors, f"transformer.{name}": tensor + 0.1 * noise[: tensor.numel()].view_as(tensor)}

    moved = furthest(read_attention_weights(edited(small_directory, tmp_path, shift)), loaded)
    assert {name for name, distance in moved.items() if distance > 1e-3} == seen_in


def test_names_without_the_prefix_and_tensors_in_several_files_are_read_alike(small_directory, loaded, tmp_path):
    stored = load_file(small_directory / "model.safetensors")
    stored = {name.removeprefix("transformer."): tensor for name, tensor in stored.items()}
    shutil.copy(small_directory / "config.json", tmp_path)
    where = {name: f"model-0000{i % 2 + 1}-of-00002.safetensors" for i, name in enumerate(stored)}
    for file in set(where.values()):
        save_file({name: tensor for name, tensor in stored.items() if where[name] == file}, tmp_path / file)
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
    assert missing_tensors(tmp_path) == []
    assert all_agree(read(tmp_path), loaded, small_directory)


def test_weights_stored_in_16_bits_are_processed_in_the_dtype_asked_for(small_directory, loaded, tmp_path):
    half = edited(small_directory, tmp_path, lambda tensors: {name: tensor.half() for name, tensor in tensors.items()})
    single, double = read_attention_weights(half), read_attention_weights(half, dtype=torch.float64)
    assert single.W_Q.dtype == torch.float32
    assert double.W_Q.dtype == torch.float64
    assert all_agree(double, single, half)
    assert max(furthest(double, loaded).values()) > 1e-4
    assert max(furthest(single, loaded).values()) < 1e-2  # not rounding of sums, but of what is stored


def test_a_whole_model_lacks_nothing(small_directory, planted_model):
    assert missing_tensors(small_directory) == []
    assert missing_tensors(planted_model.directory) == []


def test_what_a_partial_checkpoint_lacks_is_named_in_the_models_order(small_directory, tmp_path):
    def without_mlps(tensors):
        return {name: tensor for name, tensor in tensors.items() if "wte" not in name and "c_fc.weight" not in name}

    partial = edited(small_directory, tmp_path, without_mlps)
    assert missing_tensors(partial) == ["wte.weight", *(f"h.{layer}.mlp.c_fc.weight" for layer in range(3))]
    read_attention_weights(partial)


def test_an_unembedding_of_its_own_is_missed_only_where_it_is_not_tied(small_directory, tmp_path):
    partial = edited(small_directory, tmp_path, lambda tensors: tensors)
    stated(partial, tie_word_embeddings=False)
    assert missing_tensors(partial) == ["lm_head.weight"]


def test_a_checkpoint_without_its_attention_is_refused(small_directory, tmp_path):
    partial = edited(
        small_directory, tmp_path, lambda tensors: {k: v for k, v in tensors.items() if ".1.attn." not in k}
    )
    with pytest.raises(CannotLoad, match=r"lacks 4 attention tensors, h\.1\.attn\.c_attn\.weight first"):
        read_attention_weights(partial)


def test_gpt2_smalls_attention_weights_are_read(real_gpt2_files):
    weights = read_attention_weights(real_gpt2_files)
    assert repr(weights) == "<AttentionWeights: 12 layers x 12 heads, d_model 768>"
    mlps = [f"h.{layer}.mlp.{map_}.weight" for layer in range(12) for map_ in ("c_fc", "c_proj")]
    assert missing_tensors(real_gpt2_files) == ["wte.weight", *mlps]
