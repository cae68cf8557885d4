"""The yardsticks of the benchmarks measure what they say, and by them the instruments keep to their memory budgets."""

import os
from functools import partial

import pytest
import torch

from benchmarks.device import count_costs, peak_bytes
from ioi_fixtures.controls.random_model import other_names, prompts, random_model
from lib.instruments.ablation import run_circuits
from lib.instruments.patching import patch_heads, patch_stream
from lib.instruments.path_patching import path_patch_to_heads, path_patch_to_logits
from lib.models.forward import blocks
from lib.models.heads import heads
from tests.support.places import ROOT
from tests.support.warm_process import run_module

CPU = torch.device("cpu")
KIB = 2**10


def test_the_peak_is_the_most_that_was_held_at_once():
    def work():
        first = torch.ones(1000, 256)  # 1000 KiB each
        second = first + 1
        del first
        return second + torch.ones(1, 256)

    assert peak_bytes(work, CPU) == pytest.approx(2000 * KIB, abs=8 * KIB)
    assert peak_bytes(lambda: None, CPU) == 0


def test_calls_are_counted_by_what_they_cost():
    seen = {
        "cudaLaunchKernel": 5,
        "cuLaunchKernelEx": 2,
        "Memcpy HtoD (Pageable -> Device)": 3,
        "Memcpy DtoH (Device -> Pinned)": 1,
        "Memcpy DtoD (Device -> Device)": 4,
        "cudaStreamSynchronize": 6,
        "cudaDeviceSynchronize": 1,
        "cudaMemcpyAsync": 8,
        "aten::copy_": 9,
    }
    counts = {"launches": 7, "to device": 3, "from device": 1, "on device": 4, "syncs": 7}
    assert count_costs(seen.items()) == counts


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_a_bench_on_a_gpu_that_is_not_there_says_so():
    command = ["benchmarks.bench", "--device", "cuda"]
    done = run_module(*command, folder=ROOT, environment=os.environ)
    assert done.returncode == 2
    assert "sees 0 CUDA devices" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture(scope="module")
def work():
    """Every kind of intervention on one model, as functions of a budget."""
    model = random_model(n_layer=4, n_head=4, n_embd=128, dtype="float32")
    batch = prompts(48)
    clean, other, weights = batch.run(model), other_names(batch).run(model), model.weights
    runs = (clean, other, batch.answers)
    to_heads = {"receivers": heads("3.0 3.1"), "inputs": "k", "position": batch.positions["S2"]}
    circuits = [{head: "END"} for head in heads("0.0 1.1 2.2 3.3")]
    given = {"positions": batch.positions, "values": other["z"], "answers": batch.answers}
    return weights, {
        "path to the logits": partial(path_patch_to_logits, weights, *runs),
        "path to heads": partial(path_patch_to_heads, weights, *runs, **to_heads),
        "stream": partial(patch_stream, weights, *runs, site="resid_pre"),
        "z": partial(patch_heads, weights, *runs, site="z"),
        "k": partial(patch_heads, weights, *runs, site="k"),
        "pattern": partial(patch_heads, weights, *runs, site="pattern"),
        "circuits": partial(run_circuits, weights, clean, circuits, **given),
    }


@pytest.mark.parametrize("name", ["path to the logits", "path to heads", "stream", "z", "k", "pattern", "circuits"])
def test_an_instrument_keeps_to_its_memory_budget(name, work):
    """Beside the budget it holds a copy of the attention weights, and its result."""
    weights, instruments = work
    copied = peak_bytes(lambda: blocks(weights), CPU)

    def taken(budget):
        return peak_bytes(partial(instruments[name], budget=budget), CPU) - copied

    unlimited = taken(None)
    for budget in (2000 * KIB, 6000 * KIB):
        assert taken(budget) <= budget
    assert taken(2000 * KIB) < unlimited / 2  # else nothing was limited


def test_streams_of_layers_below_take_no_memory_of_a_deep_model():
    batch = prompts(48)
    model = random_model(n_layer=24, n_head=4, n_embd=64, dtype="float32")
    clean, other, weights = batch.run(model), other_names(batch).run(model), model.weights
    budget = 2000 * KIB
    patched = partial(path_patch_to_logits, weights, clean, other, batch.answers, budget=budget)
    assert peak_bytes(patched, CPU) - peak_bytes(lambda: blocks(weights), CPU) <= budget
