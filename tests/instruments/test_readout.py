"""What a run predicts is read at each prompt's own end, and the ratios are those of their definitions."""

import pytest
import torch

from ioi_fixtures.controls.random_model import prompts, random_model
from lib.instruments.readout import logit_of, probability_of, recovered, scale_ratio, top_tokens
from lib.models.activations import Run

LOGITS = torch.tensor([[0.0, 1.0, 3.0], [2.0, -1.0, 0.0]])


def of_logits(logits=LOGITS):
    return Run(torch.zeros(2, 4, dtype=torch.long), torch.tensor([3, 2]), logits, {})


def test_logits_and_probabilities_are_those_of_each_prompts_own_token():
    tokens = torch.tensor([2, 1])
    assert logit_of(of_logits(), tokens).tolist() == [3, -1]
    expected = [float(LOGITS[row].exp()[token] / LOGITS[row].exp().sum()) for row, token in enumerate(tokens)]
    assert probability_of(of_logits(), tokens).tolist() == pytest.approx(expected)


def test_the_top_token_is_the_largest_of_the_logits_read_at_each_layer_and_position():
    model, batch = random_model(n_layer=3, n_head=2, n_embd=16), prompts(4)
    run = model.run(batch.tokens, last=batch.last, keep=["resid_pre", "resid_final"])
    tokens = top_tokens(run, model.weights, 2)
    assert tokens.shape == (4, batch.tokens.shape[1])
    for layer, stream in enumerate([*run["resid_pre"][:, 2], run["resid_final"][2]]):
        centred = stream - stream.mean(-1, keepdim=True)
        scale = (centred.square().mean(-1, keepdim=True) + model.weights.architecture.norm_eps).sqrt()
        logits = centred / scale @ model.weights.W_U + model.weights.b_U
        assert tokens[layer].tolist() == logits.argmax(-1).tolist()
    assert tokens[-1, batch.last[2]] == run.logits[2].argmax()
    assert (tokens != top_tokens(run, model.weights, 1)).any()
    assert tokens.unique().numel() > 3


def test_recovered_is_a_ratio_of_means():
    corrupted, clean = torch.tensor([-1.0, 1.0]), torch.tensor([3.0, 5.0])
    patched = torch.stack([corrupted, clean, torch.tensor([0.0, 2.0])])
    assert recovered(patched, corrupted, clean).tolist() == [0, 1, 0.25]
    shifted = recovered(patched + 7, corrupted + 7, clean + 7)  # what all three share does not count
    assert shifted.tolist() == [0, 1, 0.25]
    by_layer_and_head = patched.expand(2, 3, 2)
    assert recovered(by_layer_and_head, corrupted, clean).tolist() == [[0, 1, 0.25]] * 2


def test_the_scale_ratio_is_before_over_after_at_each_prompts_own_end():
    def run(scales):
        return Run(torch.zeros(2, 2), torch.tensor([1, 0]), LOGITS, {"final_scale": torch.tensor(scales)[..., None]})

    before, after = run([[1.0, 6.0], [8.0, 1.0]]), run([[1.0, 2.0], [4.0, 1.0]])
    assert scale_ratio(before, after).tolist() == [3, 2]
