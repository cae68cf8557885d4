"""In float64 it is measured, and said, which precision was really there."""

import pytest
import torch

from ioi_fixtures.controls.random_model import save_random
from lib.models.model import load
from lib.models.precision import precision_of


@pytest.fixture
def directory(tmp_path):
    save_random(tmp_path, n_layer=3, n_head=2, n_embd=16)
    return tmp_path


def by(backend, directory, dtype="float64"):
    return load(directory, device="cpu", dtype=dtype, backend=backend)


def test_the_librarys_folding_is_float32_and_its_arithmetic_float64(directory):
    said = precision_of(by("bridge", directory))
    assert said.startswith("weights as exact as float32 (")
    assert "arithmetic as exact as float64 (" in said


def test_without_the_library_all_of_it_is_float64(directory):
    said = precision_of(by("plain", directory))
    assert said.startswith("weights as exact as float64 (0e+00 off), arithmetic as exact as float64 (")


@pytest.mark.parametrize(("forced", "name"), [(torch.float32, "float32"), (torch.bfloat16, "bfloat16")])
@pytest.mark.parametrize("backend", ["bridge", "plain"])
def test_a_softmax_in_another_number_type_is_seen(backend, forced, name, directory, monkeypatch):
    model, softmax = by(backend, directory), torch.Tensor.softmax
    coarse = lambda x, dim, **named: softmax(x.to(forced), dim).to(x.dtype)  # noqa: E731
    monkeypatch.setattr(torch.Tensor, "softmax", coarse)  # which the library's torch.nn.functional.softmax calls
    monkeypatch.setattr(torch.nn.functional, "softmax", coarse)
    assert f"arithmetic as exact as {name} (" in precision_of(model)


def test_of_other_number_types_nothing_is_said(directory):
    assert precision_of(by("bridge", directory, "float32")) == ""
