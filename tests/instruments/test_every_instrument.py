"""What holds of every instrument: where its tensors are made, and, where it runs prompts again, within what budget."""

import re
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from ioi_fixtures.controls.random_families import random_of
from ioi_fixtures.controls.random_model import one_thread, other_names, prompts, random_model
from lib.instruments import attention, attribution, composition, copying, edits, identities, readout
from lib.instruments.ablation import knock_out, means_by_group, run_circuits
from lib.instruments.patching import HEAD_SITES, STREAM_SITES, patch_heads, patch_stream
from lib.instruments.path_patching import INPUTS, path_patch_to_heads, path_patch_to_logits
from lib.models.activations import SITES, Edit, sites_of
from lib.models.backends.plain import PlainBackend
from lib.models.forward import blocks
from lib.models.heads import heads
from tests.support.rounding import agree, of_logits

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


WHERE = {"query": "END", "key": "S1"}
# measure(model, batch, run)
READING = {
    "attention": lambda model, batch, run: attention.attention(
        run, **{name: batch.positions[at] for name, at in WHERE.items()}
    ),
    "weighted attention": lambda model, batch, run: attention.value_weighted_attention(
        run, **{name: batch.positions[at] for name, at in WHERE.items()}
    ),
    "attention and output": lambda model, batch, run: torch.cat(
        attention.attended_and_written(
            run, model.weights, tokens=batch.answers.T, places=[[batch.positions["IO"]], [batch.positions["S1"]]]
        )
    ),
    "attribution": lambda model, batch, run: attribution.attribution_by_head(run, model.weights, batch.answers),
    "logit lens": lambda model, batch, run: attribution.logit_lens(run, model.weights, batch.answers),
    "top tokens": lambda model, batch, run: readout.top_tokens(run, model.weights, 0),
    "copy scores": lambda model, batch, run: torch.stack(
        [*copying.copy_hits_of_all(model.weights, model.weights.W_E[:9], run.tokens.new_tensor(range(9))).values()]
    ),
    "composition": lambda model, batch, run: composition.composition(model.weights, "K").nan_to_num(),
    "eigenvalues": lambda model, batch, run: composition.eigenvalue_scores(model.weights),
    **{said: lambda model, batch, run, part=part: part(run, model.weights) for said, part in identities.PARTS.items()},
    "later tokens": lambda model, batch, run: identities.attention_to_later_tokens(run),
    "attributions add up": lambda model, batch, run: identities.attribution_gap(run, model.weights, batch.answers),
    "flipped": lambda model, batch, run: edits.flipped_by_hooks(model, run, "z"),
    "MLPs beside": lambda model, batch, run: edits.change_of_mlps_beside(model, run),
    "whom values reach": lambda model, batch, run: torch.stack(edits.reached_in_its_layer(model, run, "v")),
    "one by one": lambda model, batch, run: identities.run_one_by_one(model, run),
    "other padding": lambda model, batch, run: identities.run_with_other_padding(model, run),
    "padded on the left": lambda model, batch, run: identities.run_padded_on_the_left(model, run),
}


@pytest.fixture(scope="module")
def in_plain_tensors():
    """A model that makes no tensors of its own accord, as a hooking library does; a batch; and a run of it."""
    weights, batch = random_model(n_layer=3, n_head=2, n_embd=16).weights, prompts(6)
    backend = PlainBackend(weights)

    def run(tokens, *, last, keep=(), edits=(), mask=None):
        mask = torch.ones_like(tokens) if mask is None else mask
        edits = edits(torch.arange(len(tokens), device="cpu")) if callable(edits) else edits
        return backend.run(tokens, last=last, keep=keep, edits=edits, mask=mask)

    with one_thread():
        yield SimpleNamespace(weights=weights, run=run), batch, run(batch.tokens, last=batch.last, keep=tuple(SITES))


@pytest.mark.parametrize("measure", READING.values(), ids=READING)
def test_every_tensor_is_made_where_what_is_read_is(in_plain_tensors, measure):
    expected = measure(*in_plain_tensors)
    with torch.device("meta"):
        measured = measure(*in_plain_tensors)
    assert torch.equal(measured, expected)


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
    weights, batch, *_ = case
    tolerance = of_logits(weights, positions=batch.tokens.shape[1])
    assert agree(measure(*case, budget=least), measure(*case), tolerance)
    with pytest.raises(ValueError, match=f"give at least {least}"):
        measure(*case, budget=least - 1)


@pytest.fixture(scope="module", params=["gpt2", "gpt_neox", "llama", "gemma2", "qwen3"])
def halves(request):
    """A model whose weights are kept in bfloat16, a model of the same numbers in float32, and a batch."""
    with one_thread():
        half = random_of(request.param, dtype="bfloat16")
        wide = replace(half, backend=PlainBackend(half.weights.to(torch.float32)))
        assert (half.dtype, wide.dtype) == (torch.bfloat16, torch.float32)
        yield half, wide, prompts(6)


def kept_of(model, batch):
    keep = sites_of(model.weights.architecture)
    return model.run(batch.tokens, last=batch.last, keep=keep)


@pytest.mark.parametrize("name", [name for name in INTERVENING if name != "stream resid_mid"])
def test_weights_in_half_as_many_bits_are_computed_with_in_float32(halves, name):
    """To the last bit what the same numbers kept in float32 give."""
    *models, batch = halves
    found = []
    for model in models:
        clean, corrupted = (kept_of(model, some) for some in (batch, other_names(batch)))
        found.append(INTERVENING[name](model.weights, batch, clean, corrupted))
    assert found[0].dtype == torch.float32
    assert torch.equal(*found)


@pytest.mark.parametrize("name", [name for name in READING if not name.startswith("the stream after attention")])
def test_what_reads_a_run_of_such_weights_does_so_too(halves, name):
    *models, batch = halves
    found = [READING[name](model, batch, kept_of(model, batch)) for model in models]
    assert found[0].dtype != torch.bfloat16
    assert torch.equal(*found)


def test_of_such_weights_one_layer_at_a_time_is_made_wide(halves):
    half, wide, _ = halves
    layers = blocks(half.weights)
    assert [block.layer for block in layers] == list(range(half.weights.n_layers))
    assert layers[2] is layers[2]
    one = layers[0]
    assert layers[1] is not one
    assert layers[0] is not one  # made again
    assert torch.equal(layers[3].W_QKV, blocks(wide.weights)[3].W_QKV)
    with pytest.raises(IndexError):
        layers[half.weights.n_layers]


@pytest.mark.parametrize("backend", ["bridge", "plain", "nnsight"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_every_backend_hands_on_float32_and_takes_edits_in_it(backend, dtype):
    model, batch = random_of("llama", dtype=dtype, backend=backend), prompts(4)
    clean = kept_of(model, batch)
    assert {activation.dtype for activation in clean.activations.values()} == {clean.logits.dtype} == {torch.float32}
    edit = Edit("z", 1, lambda z: z + torch.ones(1, dtype=torch.float32))
    edited = model.run(batch.tokens, last=batch.last, keep=("z", "resid_post"), edits=[edit])
    assert (edited["z"][1] - clean["z"][1] - 1).abs().max() < 0.05
    assert (edited["resid_post"][1] - clean["resid_post"][1]).abs().max() > 0.1

    def exchanged(z):
        z[:, 0] = corrupted["z"][1][:, 0]  # which takes no other number type
        return z

    corrupted = kept_of(model, other_names(batch))
    swapped = model.run(batch.tokens, last=batch.last, keep=("z",), edits=[Edit("z", 1, exchanged)])
    assert torch.equal(swapped["z"][1][:, 0], corrupted["z"][1][:, 0])
