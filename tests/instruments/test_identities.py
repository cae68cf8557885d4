"""Every identity holds on a model as it is, and has been seen to fail on a library that gets that very thing wrong."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from ioi_fixtures.controls.random_model import prompts, save_random
from ioi_fixtures.published import FOLDER
from lib.instruments.edits import patched_into_itself
from lib.instruments.identities import (
    PARTS,
    attention_to_later_tokens,
    attribution_gap,
    forward_in_plain_transformers,
    largest_gap,
    relative_gap,
    run_one_by_one,
    run_padded_on_the_left,
    run_with_other_padding,
)
from lib.judging.references import read_references
from lib.judging.statistics import exact
from lib.models.backends.plain import forward_in_plain_tensors
from lib.models.forward import normalize
from lib.models.model import SITES, Edit, load
from tests.support.other_architecture import other_architecture
from tests.support.stored_models import stated

pytestmark = pytest.mark.usefixtures("on_one_thread")
PUBLISHED = read_references(FOLDER)
ADDS, MLP_ADDS, HANDS_ON, IS_SUM, HEADS, READ, SOFTMAX, SUMS, MOVES, SCALE = PARTS


@pytest.fixture(scope="module")
def batch():
    return prompts(6)


@pytest.fixture(scope="module")
def run(small, batch):
    return small.run(batch.tokens, last=batch.last, keep=tuple(SITES))


def holds(claim, deviation):
    """Whether the claim's band accepts the largest deviation."""
    return exact(deviation.max()) in PUBLISHED[f"instruments/{claim}"]


def with_activation(run, **changed):
    """The run as a library would report it that gets these activations wrong."""
    return replace(run, activations={**run.activations, **changed})


class Faulty:
    """A model whose library gets something wrong: `spoil` changes the arguments of every run."""

    def __init__(self, model, spoil):
        self.weights, self.model, self.spoil = model.weights, model, spoil

    def run(self, tokens, **arguments):
        return self.model.run(**self.spoil(tokens=tokens, **arguments))


@pytest.mark.parametrize("identity", PARTS)
def test_every_identity_holds_on_a_sound_run(identity, small, run):
    assert PARTS[identity](run, small.weights).shape == (6,)
    assert holds("parts", PARTS[identity](run, small.weights))


def first_head_dropped(run):
    z = run["z"].clone()
    z[1, :, :, 0] = 0
    return {"z": z}


def one_position_changed(site):
    def change(run):
        activation = run[site].clone()
        activation[(-1, 4, 2) if activation.ndim > 3 else (4, 2)] *= 1.001
        return {site: activation}

    return change


@pytest.mark.parametrize(
    ("identity", "fault"),
    [
        (ADDS, one_position_changed("attn_out")),
        (ADDS, lambda run: {"resid_mid": run["resid_pre"]}),  # the stream before attention
        (MLP_ADDS, one_position_changed("mlp_out")),
        (MLP_ADDS, one_position_changed("resid_mid")),
        (MLP_ADDS, lambda run: {"mlp_out": 2 * run["mlp_out"]}),  # scaled before it is added
        (HANDS_ON, lambda run: {"resid_post": run["resid_mid"]}),
        (HANDS_ON, one_position_changed("resid_final")),
        (IS_SUM, one_position_changed("mlp_out")),
        (IS_SUM, lambda run: {"attn_out": run["attn_out"].flip(0) * 0.5}),
        (HEADS, first_head_dropped),
        (HEADS, one_position_changed("z")),
        (READ, one_position_changed("k")),
        (READ, lambda run: {"resid_pre": run["attn_out"]}),
        (SOFTMAX, one_position_changed("q")),
        (SUMS, lambda run: {"pattern": run["pattern"] * 1.01}),
        (SOFTMAX, lambda run: {"pattern": run["pattern"].log().clamp(min=-99)}),  # scores in place of probabilities
        (MOVES, lambda run: {"pattern": run["pattern"].roll(1, dims=2)}),  # heads in another order
        (MOVES, one_position_changed("v")),
        (SCALE, lambda run: {"final_scale": run["final_scale"].roll(1, dims=1)}),
    ],
)
def test_every_identity_fails_where_its_part_is_wrong(identity, fault, small, run):
    assert not holds("parts", PARTS[identity](with_activation(run, **fault(run)), small.weights))


def test_a_stream_reported_after_its_layer_norm_does_not_add_up(small, run):
    normalised = with_activation(run, resid_pre=normalize(run["resid_pre"], small.weights))
    assert holds("parts", PARTS[READ](normalised, small.weights))  # LayerNorm of a LayerNorm: this one cannot tell
    assert not holds("parts", PARTS[ADDS](normalised, small.weights))
    assert not holds("parts", PARTS[HANDS_ON](normalised, small.weights))


def test_the_scale_is_that_of_the_weights_own_epsilon(small, run):
    weights = other_architecture(small.weights, norm_eps=0.5)
    assert not holds("parts", PARTS[SCALE](run, weights))
    scale = (run["resid_final"].var(-1, correction=0, keepdim=True) + 0.5).sqrt()
    assert holds("parts", PARTS[SCALE](with_activation(run, final_scale=scale), weights))


def test_a_relative_gap_is_a_share_of_the_longest_part():
    whole, large = torch.tensor([[[0.0, 1.0]]]), torch.tensor([[[1000.0, 0.0]]])
    assert relative_gap(whole, [large, -large]).item() == pytest.approx(1e-3)
    assert relative_gap(whole, [whole / 2]).item() == pytest.approx(0.5)
    two = torch.tensor([[[0.0, 1.0], [1000.0, 0.0]]])  # of the parts at the same position, not of all there are
    assert relative_gap(two, [two * torch.tensor([[[0.5], [1.0]]])]).item() == pytest.approx(0.5)


def test_one_by_one_no_prompt_is_run_with_what_comes_after_it(small, run):
    seen = []

    def run_and_note(tokens, **arguments):
        seen.append(tokens)
        return small.run(tokens, **arguments)

    run_one_by_one(SimpleNamespace(run=run_and_note), run)
    assert [len(tokens[0]) for tokens in seen] == [last + 1 for last in run.last.tolist()]


def test_attention_is_causal_and_a_leak_is_seen(run):
    assert holds("causal", attention_to_later_tokens(run))
    leaky = run["pattern"].clone()
    leaky[2, 3, 1, 4, 5] = 1e-5  # what a mask of -1e5 in place of minus infinity may leave
    deviation = attention_to_later_tokens(with_activation(run, pattern=leaky))
    assert not holds("causal", deviation)
    assert deviation.nonzero().tolist() == [[3]]


def test_attributions_add_up_unless_a_head_or_a_bias_is_missing(small, batch, run):
    assert holds("logits", attribution_gap(run, small.weights, batch.answers))
    dropped = with_activation(run, **first_head_dropped(run))
    assert not holds("logits", attribution_gap(dropped, small.weights, batch.answers))
    other_scale = with_activation(run, final_scale=run["final_scale"] * 1.01)
    assert not holds("logits", attribution_gap(other_scale, small.weights, batch.answers))
    for bias in ("b_O", "b_U"):
        weights = replace(small.weights, **{bias: torch.zeros_like(getattr(small.weights, bias))})
        assert not holds("logits", attribution_gap(run, weights, batch.answers)), bias


def test_plain_tensors_give_the_logits_unless_a_weight_is_wrong(small, run):
    def gap(weights):
        return largest_gap(run.logits, forward_in_plain_tensors(weights, run.tokens, run.last))

    assert holds("logits", gap(small.weights))
    assert not holds("logits", gap(other_architecture(small.weights, activation="gelu")))
    assert not holds("logits", gap(replace(small.weights, W_Q=small.weights.W_K)))
    assert not holds("logits", gap(other_architecture(small.weights, norm_eps=1e-2)))


def test_plain_transformers_give_the_logits_unless_a_weight_is_wrong(tmp_path):
    save_random(tmp_path, n_layer=3, n_head=2, n_embd=16)
    stated(tmp_path, reorder_and_upcast_attn=True)  # as stanford-crfm has it: transformers cannot, in float64
    model = load(tmp_path, name="random", device="cpu")
    tokens, last = torch.tensor([[1, 2, 3, 4, 5, 6], [7, 8, 9, 0, 0, 0]]), torch.tensor([5, 2])
    plain = forward_in_plain_transformers(tmp_path, tokens, last, torch.float32)
    assert plain.dtype == torch.float32
    assert forward_in_plain_transformers(tmp_path, tokens, last, torch.float64).dtype == torch.float64
    logits = model.run(tokens, last=last).logits
    assert holds("logits", largest_gap(logits, plain))
    assert holds("logits", largest_gap(logits + 7, plain))  # a constant, as centring adds, is no difference
    assert not holds("logits", largest_gap(logits.roll(1, dims=0), plain))
    z_scaled = model.run(tokens, last=last, edits=[Edit("z", 2, lambda z: z * 1.001)]).logits
    assert not holds("logits", largest_gap(z_scaled, plain))


def test_prompts_run_alone_and_with_other_padding_are_the_same(small, run):
    assert len(set(run.last.tolist())) > 1
    assert holds("logits", largest_gap(run.logits, run_one_by_one(small, run)))
    assert holds("logits", largest_gap(run.logits, run_with_other_padding(small, run)))


def test_a_library_in_which_padding_matters_is_caught(small, run):
    # Positions counted from the right, as where padding is taken to stand on the left.
    shifted = Faulty(small, lambda tokens, last, **rest: {"tokens": tokens.roll(1, 1), "last": last, **rest})
    assert not holds("logits", largest_gap(run.logits, run_one_by_one(shifted, run)))
    # Logits read one position late, where padding begins.
    late = Faulty(small, lambda tokens, last, **rest: {"tokens": tokens, "last": last + 1, **rest})
    assert not holds("logits", largest_gap(run.logits, run_with_other_padding(late, run)))


def test_prompts_padded_on_the_left_are_the_same(small, batch, run):
    assert holds("logits", largest_gap(run.logits, run_padded_on_the_left(small, run)))
    longest = run.tokens[run.last == run.last.max()][:, : run.last.max() + 1]  # no padding to be moved
    full = small.run(longest, last=torch.full((len(longest),), longest.shape[1] - 1))
    assert holds("logits", largest_gap(full.logits, run_padded_on_the_left(small, full)))


def test_a_library_that_gets_padding_on_the_left_wrong_is_caught(small, run, monkeypatch):
    # The mask does not arrive at all: padding is attended to, and positions are counted from it.
    deaf = Faulty(small, lambda mask, **rest: rest)
    assert not holds("logits", largest_gap(run.logits, run_padded_on_the_left(deaf, run)))

    # It reaches attention alone, as in TransformerLens before the mend of issue 1609: positions are counted from 0.
    def positions_from_the_first_column(tokens, **rest):
        return whole(tokens, position_ids=torch.arange(tokens.shape[1])[None], **rest)

    whole = small.backend.library_model.forward
    monkeypatch.setattr(small.backend.library_model, "forward", positions_from_the_first_column)
    gap = largest_gap(run.logits, run_padded_on_the_left(small, run))
    monkeypatch.undo()
    assert not holds("logits", gap)
    assert gap.min() > 0.1  # in every prompt


@pytest.mark.parametrize("site", SITES)
def test_a_run_patched_into_itself_is_the_same_run(site, small, run):
    assert holds("null-edit", largest_gap(run.logits, patched_into_itself(small, run, site)))


@pytest.mark.parametrize("site", SITES)
def test_a_hook_that_rounds_is_no_null_edit(site, small, run):
    rounded = with_activation(run, **{site: run[site].bfloat16().float()})
    assert not holds("null-edit", largest_gap(run.logits, patched_into_itself(small, rounded, site)))
