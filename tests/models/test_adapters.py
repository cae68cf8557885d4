"""An adapter's directory is merged into its base on load; where that cannot be done, the message says how to."""

import json

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM

from ioi_fixtures.controls.random_families import save_random_of
from lib.instruments.identities import largest_gap
from lib.models import adapters
from lib.models.adapters import merge, merged_from
from lib.models.checkpoint import hash_weights
from lib.models.model import CannotLoad, load, locate
from tests.support.rounding import agree, of_logits

TOKENS, LAST = torch.tensor([[1, 2, 3, 4], [5, 6, 7, 8]]), torch.tensor([3, 2])


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "base"
    save_random_of("llama", folder)
    return folder


@pytest.fixture
def adapter(base, tmp_path, monkeypatch):
    """An adapter that was trained so far that it changes what the model says."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(base)
    model = get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False))
    model.save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter"


def stated(adapter, **changes):
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_the_merged_model_is_the_one_that_peft_runs(adapter, base):
    model = load(adapter, device="cpu", backend="plain")
    plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, attn_implementation="eager")
    with torch.no_grad():
        expected = PeftModel.from_pretrained(plain, adapter)(TOKENS).logits[[0, 1], LAST]
        without = load(base, device="cpu", backend="plain").run(TOKENS, last=LAST).logits
    found = model.run(TOKENS, last=LAST).logits
    assert agree(largest_gap(found, expected), 0.0, of_logits(model.weights, positions=4))
    assert float(largest_gap(found, without).min()) > 0.1
    assert "lora" not in " ".join(file.name for file in model.directory.iterdir())


def test_it_is_merged_once_and_says_of_what(adapter, base):
    merged = locate(adapter)
    assert locate(adapter) == merged
    assert merged_from(merged) == f"the adapter {adapter}, merged into {base}"
    assert merged_from(base) == ""
    weights = (adapter / "adapter_model.safetensors").read_bytes()
    (adapter / "adapter_model.safetensors").write_bytes(weights)  # the same, but written anew
    again = locate(adapter)
    assert again != merged
    assert hash_weights(again) == hash_weights(merged)


REFUSED = {
    "without peft": (lambda adapter, patch: patch.setattr(adapters, "find_spec", lambda name: None), "not installed"),
    "base is gone": (lambda adapter, patch: stated(adapter, base_model_name_or_path="/no/such"), "cannot be had .*/no"),
    "no base": (lambda adapter, patch: stated(adapter, base_model_name_or_path=None), "does not say of which model"),
    "no weights": (lambda adapter, patch: (adapter / "adapter_model.safetensors").unlink(), "no adapter_model.safe"),
    "beside a model": (lambda adapter, patch: (adapter / "model.safetensors").touch(), "a model lies beside it"),
    "of other sizes": (lambda adapter, patch: stated(adapter, r=3), "peft cannot merge it .*size mismatch"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_merged_is_refused_with_the_reason_and_the_remedy(case, adapter, monkeypatch):
    change, says = REFUSED[case]
    change(adapter, monkeypatch)
    with pytest.raises(CannotLoad, match=f"holds an adapter .*{says}.*merge_and_unload\\(\\)"):
        merge(adapter)
    assert not [*(adapter.parent / "cache").rglob("*.safetensors")]
