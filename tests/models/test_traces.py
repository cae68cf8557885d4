"""What is not as it was is named: the hook point, the tensor, the setting; or that no two answers are alike."""

import pytest
import torch

from ioi_fixtures.controls.random_model import save_random
from lib.models.config import CannotLoad
from lib.models.forward import blocks
from lib.models.model import choose_device, load
from lib.models.traces import changed_since, state_of
from tests.models.test_config import stated

TOKENS, LAST = torch.tensor([[1, 2, 3]]), torch.tensor([2])


@pytest.fixture(params=["bridge", "plain"])
def either(request, tmp_path):
    save_random(tmp_path, n_layer=3, n_head=2, n_embd=16)
    return load(tmp_path, name="random", device="cpu", backend=request.param)


@pytest.fixture
def bridged(tmp_path):
    """By the library, with dropout as GPT-2 has it."""
    save_random(tmp_path, n_layer=3, n_head=2, n_embd=16)
    return load(stated(tmp_path, resid_pdrop=0.1), name="random", device="cpu", backend="bridge")


def test_an_untouched_model_is_as_it_was(either):
    before = state_of(either)
    either.run(TOKENS, last=LAST, keep=("z", "pattern"))
    assert changed_since(either, before, ask=True) == ""


def test_a_hook_is_named_by_its_point(bridged):
    before = state_of(bridged)
    bridged.backend.library_model.add_hook("blocks.2.attn.hook_z", lambda z, hook: z)
    said = changed_since(bridged, before, ask=False)
    assert "is not as it was when it was loaded (hooks at blocks.2.attn.hook_z): undo what was done to it" in said


def test_a_write_is_named_by_its_tensor(either):
    before = state_of(either)
    either.weights.W_O[1].mul_(1.0)  # even one that changes no value
    assert "(writes to W_O)" in changed_since(either, before, ask=False)


def test_a_parameter_of_the_library_is_named_and_so_is_one_that_was_replaced(bridged):
    before = state_of(bridged)
    block = bridged.backend.library_model.original_model.transformer.h[1]
    name, old = next((name, tensor) for name, tensor in block.named_parameters() if "ln_2" in name)
    owner = block.get_submodule(name.rpartition(".")[0])
    setattr(owner, name.rpartition(".")[2], torch.nn.Parameter(old.detach().clone()))
    assert "(writes to transformer.h.1.ln_2." in changed_since(bridged, before, ask=False)


def test_a_write_past_torchs_counter_is_named_once_the_logits_are_looked_at(either):
    before = state_of(either)
    computed_with = "transformer.h.1.mlp.c_fc.weight"  # where the library is; else what instruments read
    name = computed_with if computed_with in before.sums else "W_in"
    either.backend.tensors()[name].data.mul_(2.0)
    assert changed_since(either, before, ask=False) == ""
    assert f"(other numbers in {name})" in changed_since(either, before, ask=True)


def test_many_writes_are_counted(bridged):
    before = state_of(bridged)
    with torch.no_grad():
        for tensor in bridged.backend.library_model.parameters():
            tensor.mul_(1.0)
    assert " more): undo" in changed_since(bridged, before, ask=False)


def test_a_setting_of_the_library_and_of_torch_is_named(bridged):
    before, threads = state_of(bridged), torch.get_num_threads()
    bridged.backend.library_model.cfg.use_attn_result = True
    assert "other settings: cfg.use_attn_result False -> True" in changed_since(bridged, before, ask=False)
    bridged.backend.library_model.cfg.use_attn_result = False
    torch.set_num_threads(threads + 1)
    try:
        said = changed_since(bridged, before, ask=False)
    finally:
        torch.set_num_threads(threads)
    assert f"torch.get_num_threads() {threads} -> {threads + 1}" in said
    assert changed_since(bridged, before, ask=True) == ""


def test_dropout_that_is_left_on_is_called_what_it_is(bridged):
    before = state_of(bridged)
    bridged.backend.library_model.train()
    assert "modules in training mode 0 -> " in changed_since(bridged, before, ask=False)
    with pytest.raises(RuntimeError, match=r"is not deterministic: asked the same again, .* training mode.*eval\(\)"):
        state_of(bridged)


def test_a_model_that_draws_at_random_is_not_blamed_on_a_claim(either, monkeypatch):
    before = state_of(either)
    softmax = torch.Tensor.softmax
    noisy = lambda x, *rest, **named: softmax(x, *rest, **named) * (1 + 1e-6 * torch.randn(1))  # noqa: E731
    monkeypatch.setattr(torch.Tensor, "softmax", noisy)
    monkeypatch.setattr(torch.nn.functional, "softmax", lambda x, dim, **named: noisy(x, dim))
    said = changed_since(either, before, ask=True)
    assert "is not deterministic" in said
    assert "an unsteady kernel" in said
    with pytest.raises(RuntimeError, match="is not deterministic"):
        state_of(either)


def test_code_that_was_patched_is_not_called_a_hook(bridged, monkeypatch):
    before = state_of(bridged)
    softmax = torch.nn.functional.softmax
    monkeypatch.setattr(torch.nn.functional, "softmax", lambda x, dim, **named: softmax(1.001 * x, dim))
    said = changed_since(bridged, before, ask=True)
    assert "although it has no other hooks, weights or settings: look for code that was patched" in said


def test_autocast_is_refused_in_one_sentence_wherever_something_is_computed(either):
    before = state_of(either)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for compute in (
            lambda: choose_device("cpu"),
            lambda: either.run(TOKENS, last=LAST),
            lambda: blocks(either.weights),
        ):
            with pytest.raises(CannotLoad) as refused:
                compute()
            assert str(refused.value) == (
                "torch.autocast is on for cpu, so matrix products would be in torch.bfloat16 whatever number type is "
                "asked for: leave it first, and use --claims-dtype for another number type"
            )
    assert changed_since(either, before, ask=True) == ""
