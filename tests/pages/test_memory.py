"""The arithmetic of memory, against tensors of models that are loaded."""

import pytest

from benchmarks.pages import evidence
from benchmarks.pages.memory import NAME, OF_ABC, Sizes, page
from ioi_fixtures.controls.random_families import random_of
from ioi_fixtures.controls.random_model import prompts
from ioi_fixtures.pytest_fixtures.fixtures import EVERYTHING
from lib.models import forward


@pytest.fixture(params=["gpt2", "llama", "qwen3", "opt"])
def loaded(request):
    return random_of(request.param)


def sizes_of(weights):
    shape = weights.architecture
    shared = ("n_layers", "d_model", "n_heads", "n_kv_heads", "d_head", "d_mlp")
    return Sizes(
        **{name: getattr(shape, name) for name in shared},
        d_vocab=len(weights.W_E),
        matrices_of_mlp=3 if shape.gated else 2,
    )


def test_weights_and_what_blocks_have_side_by_side(loaded):
    sizes, tensors = sizes_of(loaded.weights), loaded.weights.tensors()
    matrices = sum(tensor.numel() for name, tensor in tensors.items() if name.startswith("W_") and name != "W_pos")
    assert sizes.weights() == matrices
    blocks = forward.blocks(loaded.weights)
    assert sizes.joined() == sum(block.W_QKV.numel() for block in blocks)
    matrices = (blocks[0].W_QKV, blocks[0].W_O, blocks[0].W_in, blocks[0].W_out, blocks[0].W_gate)
    assert sizes.block() == sum(matrix.numel() for matrix in matrices if matrix is not None)


@pytest.mark.parametrize("sites", [EVERYTHING, OF_ABC])
def test_runs(loaded, sites):
    batch = prompts(8)
    run = loaded.run(batch.tokens, last=batch.last, keep=sites)
    kept = sum(run[site].numel() for site in sites)
    assert sizes_of(loaded.weights).kept(sites, *batch.tokens.shape) == kept


def test_the_page_is_what_the_program_writes():
    assert evidence.read(NAME) == page(), "run `make docs` and commit what it writes"
