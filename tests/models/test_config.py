"""What config.json says is computed as transformers computes it, or refused by key; and paths that lead nowhere."""

import inspect
import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import GPT2Config

from ioi_fixtures.controls import hook_loops
from ioi_fixtures.controls.random_model import KEEP, one_thread, other_names, prompts, save_random
from lib.instruments.identities import PARTS, forward_in_plain_transformers, largest_gap
from lib.instruments.path_patching import path_patch_to_heads
from lib.models import config, forward
from lib.models.backends.plain import PlainBackend
from lib.models.config import CannotLoad, locate, read_config
from lib.models.families import FAMILIES, GPT2_DEFAULTS, query_factors
from lib.models.heads import Head
from lib.models.model import SITES, load
from tests.support.rounding import agree, of_logits, of_weights_in_float32
from tests.support.stored_models import stated

TOKENS = torch.tensor([[1, 2, 3, 4, 5, 6], [7, 8, 9, 0, 0, 0]])
LAST = torch.tensor([5, 2])
# Keys of GPT2Config that change nothing of what a language model computes when it is not trained.
OF_NO_EFFECT = {
    *("resid_pdrop", "embd_pdrop", "attn_pdrop", "initializer_range", "use_cache"),
    *("bos_token_id", "eos_token_id", "pad_token_id"),
    *("summary_type", "summary_use_proj", "summary_activation", "summary_proj_to_labels", "summary_first_dropout"),
    # of every configuration
    *("transformers_version", "architectures", "output_hidden_states", "output_attentions", "dtype", "name_or_path"),
    *("chunk_size_feed_forward", "id2label", "label2id", "problem_type"),
}
SCALES = {
    "by inverse layer": {"scale_attn_by_inverse_layer_idx": True},
    "none": {"scale_attn_weights": False},
    "inverse layer alone": {"scale_attn_weights": False, "scale_attn_by_inverse_layer_idx": True},
    "as stanford-crfm has it": {"scale_attn_by_inverse_layer_idx": True, "reorder_and_upcast_attn": True},
}
HONOURED = {
    **SCALES,
    **{name: {"activation_function": name} for name in ("gelu", "relu")},
    "epsilon": {"layer_norm_epsilon": 0.1},
}


@pytest.fixture
def directory(tmp_path):
    save_random(tmp_path, n_layer=3, n_head=2, n_embd=16)
    return tmp_path


def test_the_defaults_are_those_of_transformers():
    theirs = GPT2Config()
    for key, value in GPT2_DEFAULTS.items():
        assert getattr(theirs, key, value) == value, key
    assert {alias: key for alias, key in FAMILIES["gpt2"].aliases.items()} == GPT2Config.attribute_map
    assert set(config.ACTIVATIONS) == set(forward.ACTIVATIONS)


def test_every_key_of_the_architecture_is_in_the_table_or_known_to_change_nothing():
    keys = set(inspect.signature(GPT2Config.__init__).parameters) - {"self", "kwargs"}
    assert keys - set(GPT2_DEFAULTS) - OF_NO_EFFECT == set()
    family = FAMILIES["gpt2"]
    known = {*family.all_sizes.values(), *config.SUPPORTED, *family.supported, family.activation, family.norm_eps}
    assert set(GPT2_DEFAULTS) == known


@pytest.mark.parametrize("backend", ["bridge", "plain"])
@pytest.mark.parametrize("case", HONOURED)
def test_a_key_has_the_effect_it_has_in_transformers(case, backend, directory):
    without = load(directory, device="cpu", dtype="float64", backend=backend).run(TOKENS, last=LAST).logits
    stated(directory, **HONOURED[case])
    model = load(directory, device="cpu", dtype="float64", backend=backend)
    logits = model.run(TOKENS, last=LAST).logits
    expected = forward_in_plain_transformers(directory, TOKENS, LAST, torch.float64)
    exactly = of_logits(model.weights, positions=6) + of_weights_in_float32(model.weights) * (backend == "bridge")
    assert agree(largest_gap(logits, expected), 0.0, exactly)
    assert largest_gap(logits, without).min() > exactly  # between the two GELUs that is little


def test_the_size_of_the_mlp_is_read(tmp_path):
    save_random(tmp_path, n_layer=2, n_head=2, n_embd=16)
    tensors = load_file(tmp_path / "model.safetensors")
    for layer in range(2):
        mlp = f"transformer.h.{layer}.mlp"
        tensors[f"{mlp}.c_fc.weight"] = tensors[f"{mlp}.c_fc.weight"][:, :24].contiguous()
        tensors[f"{mlp}.c_fc.bias"] = tensors[f"{mlp}.c_fc.bias"][:24].contiguous()
        tensors[f"{mlp}.c_proj.weight"] = tensors[f"{mlp}.c_proj.weight"][:24].contiguous()
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CannotLoad, match=r"c_fc.weight in .* is \[16, 24\], but config.json makes it \[16, 64\]"):
        load(tmp_path, device="cpu")
    stated(tmp_path, n_inner=24)
    for backend in ("bridge", "plain"):
        model = load(tmp_path, device="cpu", dtype="float64", backend=backend)
        expected = forward_in_plain_transformers(tmp_path, TOKENS, LAST, torch.float64)
        allowed = of_weights_in_float32(model.weights)
        assert agree(largest_gap(model.run(TOKENS, last=LAST).logits, expected), 0.0, allowed)


@pytest.mark.parametrize("case", SCALES)
def test_instruments_agree_with_hooks_whatever_the_scale_of_attention(case, directory):
    stated(directory, **SCALES[case])
    model = load(directory, device="cpu", dtype="float64")
    with one_thread():
        batch = prompts(6)
        run = model.run(batch.tokens, last=batch.last, keep=tuple(SITES))
        allowed = of_logits(model.weights, positions=batch.tokens.shape[1])
        assert all(agree(part(run, model.weights), 0.0, allowed) for part in PARTS.values())
        other = model.run(other_names(batch).tokens, last=batch.last, keep=KEEP)
        senders, receivers = [[Head(0, 1)]], [Head(1, 0), Head(2, 1)]
        found = path_patch_to_heads(
            model.weights,
            run,
            other,
            batch.answers,
            receivers=receivers,
            inputs="q",
            position=batch.last,
            senders=senders,
        )
        plain = hook_loops.path_to_heads(model, run, other, batch.answers, senders[0], receivers, "q", batch.last)
        assert agree(found[0], plain, allowed)


def test_weights_that_need_no_scale_are_the_same_bit_for_bit(directory):
    """With the switches as they are by default, every queries' factor is 1."""
    assert query_factors(read_config(directory)) == [1.0, 1.0, 1.0]
    before = load(directory, device="cpu", backend="plain").weights.tensors()
    stated(directory, scale_attn_weights=True, scale_attn_by_inverse_layer_idx=False)
    after = load(directory, device="cpu", backend="plain").weights.tensors()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())


def test_the_factors_of_queries_are_those_of_the_definition(directory):
    stated(directory, scale_attn_by_inverse_layer_idx=True)
    assert query_factors(read_config(directory)) == [1.0, 1 / 2, 1 / 3]
    stated(directory, scale_attn_weights=False)  # 16 dimensions in 2 heads
    assert query_factors(read_config(directory)) == [8**0.5, 8**0.5 / 2, 8**0.5 / 3]


REFUSED = {
    "activation_function": "quick_gelu",
    "add_cross_attention": True,
    "is_causal": False,
    "is_encoder_decoder": True,
    "return_dict": False,
    "pruned_heads": {"0": [1]},
    "quantization_config": {"quant_method": "bitsandbytes", "load_in_8bit": True},
    "scale_attn_weights": "yes",
    "n_layer": "3",
    "n_head": 3,
    "n_inner": 0,
    "layer_norm_epsilon": "small",
    "hidden_size": 32,
}


@pytest.mark.parametrize("key", REFUSED)
def test_what_is_not_supported_is_refused_by_key(key, directory):
    stated(directory, **{key: REFUSED[key]})
    with pytest.raises(CannotLoad, match=rf"config.json says .*{key}"):
        locate(directory)


def test_a_key_may_be_left_out_or_be_said_by_its_other_name(directory):
    stated(directory, without=("n_layer", "layer_norm_epsilon"), num_hidden_layers=3)
    assert read_config(directory)["n_layer"] == 3
    assert read_config(directory)["layer_norm_epsilon"] == 1e-5
    stated(directory, without=("num_hidden_layers",))
    assert read_config(directory)["n_layer"] == 12


@pytest.mark.parametrize("text", ["{", "[1, 2]", "\xff"])
def test_what_is_no_json_object_is_refused(text, tmp_path):
    (tmp_path / "config.json").write_text(text, encoding="latin-1")
    with pytest.raises(CannotLoad, match="config.json cannot be read"):
        locate(tmp_path)


@pytest.mark.parametrize(
    "typed", ["./modles/gpt2", "modles/gpt2/", "{root}/modles/gpt2", "~/modles/gpt2", "models/gtp2"]
)
def test_a_mistyped_path_is_no_hub_name(typed, tmp_path, monkeypatch):
    (tmp_path / "models" / "gpt2").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(CannotLoad, match=r"there is no directory .*: did you mean '.*models/gpt2'\?"):
        locate(typed.format(root=tmp_path))


def test_a_path_that_is_like_nothing_there_says_where_it_ends(tmp_path):
    with pytest.raises(CannotLoad, match=f"there is no directory {tmp_path}/a/b: {tmp_path} is there, and holds no"):
        locate(tmp_path / "a" / "b")
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(CannotLoad, match="is a file: give the directory that it is in"):
        locate(tmp_path / "model.safetensors")


def test_a_hub_name_is_still_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("gpt2", "openai-community/gpt2", "stanford-crfm/alias-gpt2-small-x21@checkpoint-600"):
        assert not config.is_path(name)


def test_an_adapter_is_no_model(directory):
    (directory / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "openai-community/gpt2"}))
    with pytest.raises(CannotLoad, match=r"an adapter \(.*of openai-community/gpt2\).*merge_and_unload\(\)"):
        locate(directory)
    (directory / "config.json").unlink()
    with pytest.raises(CannotLoad, match=r"merge_and_unload\(\)"):
        locate(directory)


def test_another_scale_gives_other_weights_to_attention_alone(directory):
    """The faults that the tests above are to see: a scale that is forgotten, and one that is applied twice."""
    before = load(directory, device="cpu", dtype="float64", backend="plain")
    stated(directory, scale_attn_by_inverse_layer_idx=True)
    weights = load(directory, device="cpu", dtype="float64", backend="plain").weights
    changed = {
        name for name, tensor in weights.tensors().items() if not torch.equal(tensor, before.weights.tensors()[name])
    }
    assert changed == {"W_Q", "b_Q"}
    expected = forward_in_plain_transformers(directory, TOKENS, LAST, torch.float64)
    for wrong in (before.weights, replace(weights, W_Q=weights.W_Q / 2)):
        logits = replace(before, backend=PlainBackend(wrong)).run(TOKENS, last=LAST).logits
        assert largest_gap(logits, expected).min() > 1e-3
