"""One fact has one source: what files say twice, and differently, is refused, and both places are named."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from ioi_fixtures import planted
from ioi_fixtures.controls.random_model import save_random
from lib.models.checkpoint import Checkpoint, hash_weights
from lib.models.config import INDEX, CannotLoad
from lib.models.model import load
from tests.support.stored_models import stated


@pytest.fixture
def directory(tmp_path):
    save_random(tmp_path, n_layer=3, n_head=2, n_embd=16)
    return tmp_path


def rewritten(directory, change, file="model.safetensors"):
    """The directory, its tensors as `change` makes them, in `file`."""
    tensors = {name: tensor.clone() for name, tensor in change(load_file(directory / "model.safetensors")).items()}
    save_file(tensors, directory / file, metadata={"format": "pt"})
    return directory


def sharded(directory, n=2):
    """The directory, its tensors spread over n files with an index, as save_pretrained writes them."""
    tensors = load_file(directory / "model.safetensors")
    where = {name: f"model-{i % n + 1:05}-of-{n:05}.safetensors" for i, name in enumerate(sorted(tensors))}
    for file in set(where.values()):
        save_file({name: tensors[name] for name in where if where[name] == file}, directory / file)
    (directory / "model.safetensors").unlink()
    indexed(directory, where)
    return where


def indexed(directory, where):
    (directory / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": where}))


def refused(directory, says):
    with pytest.raises(CannotLoad, match=says):
        Checkpoint(directory).check()


def with_prefix(prefix, *names):
    """Every name begins with `prefix`, or those that hold one of `names` do."""
    return lambda tensors: {
        prefix + name if not names or any(one in name for one in names) else name: t for name, t in tensors.items()
    }


def test_a_second_file_with_tensors_of_the_model_is_refused(directory):
    before = hash_weights(directory)
    rewritten(
        directory, lambda tensors: {name: 2 * t for name, t in tensors.items()}, file="model_step_1000.safetensors"
    )
    refused(
        directory, r"model_step_1000.safetensors holds .*tensors of the model as well .* loaded is model.safetensors"
    )
    assert hash_weights(directory) == before


@pytest.mark.parametrize("prefix", ["", "_orig_mod.transformer."])
def test_a_second_file_with_the_rest_of_the_model_is_not_loaded_so_it_is_refused(prefix, directory):
    tensors = load_file(directory / "model.safetensors")
    rest = {f"{prefix}h.1.ln_2.bias": tensors.pop("transformer.h.1.ln_2.bias")}
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})
    save_file(rest, directory / "rest.safetensors")
    refused(directory, r"rest.safetensors holds 1 tensors of the model as well .* loaded is model.safetensors")


def test_a_second_file_with_other_tensors_is_none_of_the_models(directory):
    save_file({"step": torch.tensor([3.0])}, directory / "optimizer.safetensors")
    Checkpoint(directory).check()


def test_a_file_that_transformers_does_not_read_is_no_model(directory):
    (directory / "model.safetensors").rename(directory / "weights.safetensors")
    refused(directory, "has weights.safetensors, but neither model.safetensors nor model.safetensors.index.json")


def test_an_unembedding_of_its_own_is_refused_where_the_config_ties_it(directory):
    stated(directory, tie_word_embeddings=True)
    refused(
        directory, "tie_word_embeddings.*lm_head.weight in .*model.safetensors is another matrix than transformer.wte"
    )
    rewritten(directory, lambda tensors: {**tensors, "lm_head.weight": tensors["transformer.wte.weight"]})
    Checkpoint(directory).check()
    stated(directory, without=["tie_word_embeddings"])  # as GPT-2's own config.json leaves it out
    Checkpoint(directory).check()


def test_an_untied_model_without_its_unembedding_lacks_it(directory):
    rewritten(directory, lambda tensors: {name: t for name, t in tensors.items() if name != "lm_head.weight"})
    assert Checkpoint(directory).missing() == ["lm_head.weight"]


def test_a_tensor_under_two_names_is_refused(directory):
    rewritten(directory, lambda tensors: {**tensors, "h.1.ln_1.bias": tensors["transformer.h.1.ln_1.bias"] + 1})
    refused(directory, r"h.1.ln_1.bias is stored twice, as h.1.ln_1.bias in .* and as transformer.h.1.ln_1.bias in")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (with_prefix("_orig_mod."), r"'_orig_mod.' in their names .*torch.compile.*model._orig_mod.*save_pretrained"),
        (with_prefix("module."), r"'module.' in their names .*DistributedDataParallel.*model.module"),
        (with_prefix("module._orig_mod."), r"torch.compile"),
        (with_prefix("base_model.model."), r"PEFT.*merge_and_unload\(\)"),
        (with_prefix("model."), r"holds model.transformer.wte.weight, where .* save the one inside"),
        (
            lambda tensors: {**tensors, "transformer.h.0.attn.c_attn.lora_A.default.weight": torch.ones(2, 16)},
            r"'lora_' in their names .*merge_and_unload\(\)",
        ),
        (
            lambda tensors: {name.replace("c_attn", "c_attn.base_layer"): t for name, t in tensors.items()},
            r"merge_and_unload\(\)",
        ),
    ],
    ids=["compiled", "parallel", "compiled and parallel", "PEFT", "model", "LoRA beside", "LoRA around"],
)
def test_names_that_a_wrapper_made_are_refused_with_the_way_out(change, says, directory):
    rewritten(directory, change)
    refused(directory, says)


def test_layers_that_the_config_does_not_count_are_refused(directory):
    stated(directory, n_layer=2)
    refused(directory, r"transformer.h.2\..* has no place in the model that .*config.json describes, of 2 layers")


def test_masks_that_used_to_be_stored_are_no_strangers(directory):
    masks = {"transformer.h.0.attn.bias": torch.ones(4), "transformer.h.0.attn.masked_bias": torch.ones(1)}
    rewritten(directory, lambda tensors: {**tensors, **masks})
    Checkpoint(directory).check()


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("vocab_size", 98, r"wte.weight in .* is \[97, 16\], but config.json makes it \[98, 16\]"),
        ("n_positions", 32, r"wpe.weight in .* is \[64, 16\], but config.json makes it \[32, 16\]"),
        ("n_embd", 8, r"wte.weight in .* is \[97, 16\]"),
        ("n_inner", 8, r"mlp.c_fc.weight in .* is \[16, 64\], but config.json makes it \[16, 8\] \(n_embd, n_inner\)"),
    ],
)
def test_a_size_that_the_tensors_do_not_have_is_refused(key, value, says, directory):
    stated(directory, **{key: value})
    refused(directory, says)


def test_shards_are_read_as_transformers_reads_them(directory):
    whole = {name: Checkpoint(directory).read(name, torch.float64) for name in Checkpoint(directory).places}
    before = hash_weights(directory)
    sharded(directory)
    checkpoint = Checkpoint(directory)
    checkpoint.check()
    theirs = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float64).state_dict()
    for name, tensor in whole.items():
        assert torch.equal(checkpoint.read(name, torch.float64), tensor)
        assert torch.equal(theirs[name if name == "lm_head.weight" else f"transformer.{name}"], tensor)
    assert hash_weights(directory) == before


def test_an_index_that_its_shards_do_not_bear_out_is_refused(directory):
    where = sharded(directory)
    first, second = sorted(set(where.values()))
    indexed(directory, {**where, "transformer.h.9.ln_1.bias": first})
    refused(directory, f"says that transformer.h.9.ln_1.bias is in {first}, which does not hold it")
    indexed(directory, {name: first for name in where})
    refused(directory, f"is in {first}, which does not hold it")
    indexed(directory, {})
    refused(directory, "lists no tensor")
    indexed(directory, where)
    (directory / second).rename(directory / "elsewhere.safetensors")
    refused(directory, f"lists {second}, which is not there: fetch or save all 2 shards again")


def test_a_shard_that_the_index_does_not_list_is_a_second_source(directory):
    where = sharded(directory)
    first, second = sorted(set(where.values()))
    save_file(load_file(directory / first), directory / "model-00003-of-00003.safetensors")
    refused(directory, rf"model-00003-of-00003.safetensors holds .* loaded is {first}, {second}")


def test_a_whole_file_beside_an_index_of_shards_is_refused(directory):
    whole = load_file(directory / "model.safetensors")
    sharded(directory)
    save_file(whole, directory / "model.safetensors")
    refused(directory, "has both model.safetensors and model.safetensors.index.json, which lists model-00001-of-00002")


def test_what_is_refused_is_not_loaded_either(directory):
    stated(directory, tie_word_embeddings=True)
    with pytest.raises(CannotLoad, match="is another matrix"):
        load(directory, device="cpu")


def test_models_that_say_one_thing_pass(directory, real_gpt2_files):
    for whole in (directory, planted.directory()):
        Checkpoint(whole).check()
        assert Checkpoint(whole).missing() == []
    partial = Checkpoint(real_gpt2_files)
    partial.check()
    assert partial.missing()
    assert partial.missing_attention() == []
