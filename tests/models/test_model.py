"""Loading: the same weights as plain transformers, refusals that say what to do, and runs that leave nothing behind."""

import json
import shutil
import socket

import pytest
import torch
from transformers import AutoModelForCausalLM

from ioi_fixtures import planted
from lib.models.activations import at_positions
from lib.models.model import CannotLoad, Edit, choose_device, load, locate
from tests.support.rounding import agree, of_logits, of_weights_in_float32

TOKENS = torch.tensor([[1, 2, 3, 4, 5, 6], [7, 8, 9, 0, 0, 0]])
LAST = torch.tensor([5, 2])


@pytest.fixture(scope="module")
def in_float64():
    return load(planted.directory(), device="cpu", dtype="float64")


def test_logits_are_those_of_plain_transformers_up_to_a_constant(in_float64):
    directory, exactly = planted.directory(), {"attn_implementation": "eager", "dtype": torch.float64}
    plain = AutoModelForCausalLM.from_pretrained(directory, **exactly).eval()
    with torch.no_grad():
        expected = at_positions(plain(TOKENS).logits, LAST)
    logits = in_float64.run(TOKENS, last=LAST).logits
    # Centring the unembedding shifts every logit by one constant, which no softmax sees.
    centred = (some - some.mean(-1, keepdim=True) for some in (logits, expected))
    assert agree(*centred, of_weights_in_float32(in_float64.weights))


def test_padding_after_the_last_token_changes_nothing(in_float64):
    padded = in_float64.run(TOKENS, last=LAST).logits[1]
    alone = in_float64.run(TOKENS[1:, :3], last=LAST[1:]).logits[0]
    assert agree(padded, alone, of_logits(in_float64.weights, positions=TOKENS.shape[1]))


def test_a_run_keeps_what_it_was_asked_for_and_nothing_else(planted_model):
    run = planted_model.run(TOKENS, last=LAST, keep=["z", "final_scale"])
    assert run["z"].shape == (12, 2, 6, 12, 64)
    assert run["final_scale"].shape == (2, 6, 1)
    with pytest.raises(KeyError, match="kept.*not 'q'.*keep="):
        run["q"]


def test_an_edit_changes_the_logits_and_is_gone_afterwards(planted_model):
    before = planted_model.probe()
    clean = planted_model.run(TOKENS, last=LAST).logits
    edited = planted_model.run(TOKENS, last=LAST, edits=[Edit("z", 9, torch.zeros_like)]).logits
    assert (edited - clean).abs().max() > 0.01
    assert torch.equal(planted_model.probe(), before)


def test_an_edit_that_returns_its_input_changes_nothing_bit_for_bit(planted_model):
    clean = planted_model.run(TOKENS, last=LAST).logits
    for site in ("resid_pre", "q", "k", "v", "z", "pattern", "attn_out", "mlp_out", "resid_mid", "final_scale"):
        assert torch.equal(planted_model.run(TOKENS, last=LAST, edits=[Edit(site, 0, lambda x: x)]).logits, clean), site


def test_hooks_are_gone_after_an_edit_that_raises(planted_model):
    before = planted_model.probe()
    with pytest.raises(ZeroDivisionError):
        planted_model.run(TOKENS, last=LAST, edits=[Edit("z", 9, lambda z: 1 // 0)])
    assert torch.equal(planted_model.probe(), before)


def test_a_changed_weight_is_seen():
    model = load(planted.directory(), device="cpu")
    before, traces = model.probe(), model.traces()
    model.weights.W_O[9, 9].mul_(1.0)  # even a write that changes no value
    assert model.traces() != traces
    next(iter(model.backend.library_model.original_model.parameters())).mul_(2.0)
    assert not torch.equal(model.probe(), before)


def test_a_hook_left_behind_is_seen():
    model = load(planted.directory(), device="cpu")
    before, traces = model.probe(), model.traces()
    model.backend.library_model.add_hook("blocks.9.attn.hook_z", lambda z, hook: 0 * z)
    assert model.traces() != traces
    assert not torch.equal(model.probe(), before)


def test_an_unknown_site_is_refused_with_the_known_ones(planted_model):
    with pytest.raises(ValueError, match="'zz' is not an activation.*resid_pre"):
        planted_model.run(TOKENS, last=LAST, keep=["zz"])


def test_a_directory_is_loaded_without_touching_the_network(monkeypatch):
    def refuse(*arguments):
        raise AssertionError(f"network touched: {arguments}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    load(planted.directory(), device="cpu")


def test_what_is_neither_directory_nor_hub_model_is_refused():
    with pytest.raises(CannotLoad, match="'no/such-model' is no directory.*give a directory"):
        locate("no/such-model")


def test_another_architecture_is_refused(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "mamba"}))
    with pytest.raises(CannotLoad, match="'mamba'"):
        locate(tmp_path)


def test_only_safetensors_are_loaded(tmp_path):
    shutil.copy(planted.directory() / "config.json", tmp_path)
    (tmp_path / "pytorch_model.bin").touch()
    with pytest.raises(CannotLoad, match="only safetensors"):
        locate(tmp_path)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_a_missing_gpu_is_refused_with_a_remedy():
    with pytest.raises(CannotLoad, match="0 CUDA devices.*--claims-device cpu"):
        choose_device("cuda")
