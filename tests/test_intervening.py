"""What holds of every instrument that intervenes: where its tensors are made, and that it keeps to its budget."""

import re

import pytest
import torch

from lib.heads import heads
from lib.instruments.ablation import knock_out, means_by_group, run_circuits
from lib.instruments.patching import HEAD_SITES, STREAM_SITES, patch_heads, patch_stream
from lib.instruments.path_patching import INPUTS, path_patch_to_heads, path_patch_to_logits
from tests.random_model import one_thread, other_names, prompts, random_model

CIRCUITS = [dict.fromkeys(heads("0.1 1.0 2.1"), "S2"), dict.fromkeys(heads("1.0 2.0"), ("S1+1", "END")), {}]
SENDERS = [heads("0.1 1.0"), heads("1.1")]


def ablating(measure):
    def measured(weights, batch, clean, corrupted, **budget):
        values = means_by_group(corrupted["z"], batch.template)
        settings = {"positions": batch.positions, "values": values, "answers": batch.answers}
        return measure(weights, clean, CIRCUITS, **settings, **budget)

    return measured


def patching(measure, **settings):
    def measured(weights, batch, clean, corrupted, **budget):
        return measure(weights, corrupted, clean, batch.answers, **settings, **budget)

    return measured


def path_patching(measure, *, position=None, **settings):
    def measured(weights, batch, clean, corrupted, **budget):
        at = {} if position is None else {"position": batch.positions[position]}
        return measure(weights, clean, corrupted, batch.answers, **at, **settings, **budget)

    return measured


INTERVENING = {
    "circuits": ablating(run_circuits),
    "knock-outs": ablating(knock_out),
    **{f"stream {site}": patching(patch_stream, site=site) for site in STREAM_SITES},
    **{f"heads {site}": patching(patch_heads, site=site) for site in HEAD_SITES},
    **{
        f"paths to the logits, {mlps}": path_patching(path_patch_to_logits, mlps=mlps)
        for mlps in ("recomputed", "frozen")
    },
    **{
        f"paths to {inputs}": path_patching(
            path_patch_to_heads, receivers=heads("2.0 1.1"), inputs=inputs, position="S2", senders=SENDERS
        )
        for inputs in INPUTS
    },
}


@pytest.fixture(scope="module")
def case():
    model, batch = random_model(n_layer=3, n_head=2, n_embd=16), prompts(6)
    with one_thread():
        yield model.weights, batch, batch.run(model), other_names(batch).run(model)


@pytest.mark.parametrize("measure", INTERVENING.values(), ids=INTERVENING)
def test_every_tensor_is_made_where_the_run_is(case, measure):
    """As on a GPU, what is made elsewhere cannot meet what the run holds. Here, elsewhere is the default device."""
    expected = measure(*case)
    with torch.device("meta"):
        measured = measure(*case)
    assert torch.equal(measured, expected)


@pytest.mark.parametrize("measure", INTERVENING.values(), ids=INTERVENING)
def test_the_least_budget_is_named_and_is_enough(case, measure):
    with pytest.raises(ValueError, match="a budget of 1 bytes does not hold one prompt: give at least") as refusal:
        measure(*case, budget=1)
    least = int(re.search(r"at least (\d+)", str(refusal.value))[1])
    assert torch.allclose(measure(*case, budget=least), measure(*case), atol=1e-9)
    with pytest.raises(ValueError, match=f"give at least {least}"):
        measure(*case, budget=least - 1)
