"""What claims show is what the runs hold: words under their weights, tokens under layers, heads under their class."""

import pytest
import torch

from ioi_fixtures.circuits.circuit import CIRCUIT_HEADS, NAME_MOVERS
from ioi_fixtures.pytest_fixtures.drawings import (
    attention_against_projection,
    attention_by_position,
    attribution_by_part,
    change_by_head,
    differences_by_signal,
    lens_by_layer,
    pattern_of,
    top_tokens_of,
    words_of,
)
from ioi_fixtures.sentences.prompts import encode, make_prompts
from lib.instruments.attribution import attribution_by_layer, logit_lens
from lib.instruments.readout import top_tokens
from lib.models.heads import Head

KEEP = ("resid_pre", "attn_out", "mlp_out", "resid_final", "z", "pattern", "final_scale")


@pytest.fixture(scope="module")
def batch(planted_model):
    return encode(make_prompts(12, seed=3), planted_model.tokenizer, prepend_bos=False)


@pytest.fixture(scope="module")
def run(planted_model, batch):
    return planted_model.run(batch.tokens, last=batch.positions["END"], keep=KEEP)


def test_the_words_of_a_prompt_are_its_tokens_without_padding(planted_model, batch):
    for prompt in range(len(batch)):
        words = words_of(planted_model, batch, prompt)
        assert "".join(words) == batch.sentence(prompt).replace(" ", "")
        assert words[batch.positions["S1"][prompt]] == words[batch.positions["S2"][prompt]]


def test_a_pattern_has_a_weight_for_each_word_up_to_its_own(planted_model, batch, run):
    pattern = pattern_of(Head(9, 9), planted_model, batch, run, prompt=1)
    end, io = batch.positions["END"][1], batch.positions["IO"][1]
    assert pattern.weights[end][io] == pytest.approx(float(run["pattern"][9, 1, 9, end, io]), rel=1e-3)
    assert all(sum(row) == pytest.approx(1, abs=0.01) for row in pattern.weights)


def test_the_last_row_of_top_tokens_is_what_the_model_predicts(planted_model, batch, run):
    for prompt in range(len(batch)):
        end = batch.positions["END"][prompt]
        tokens = top_tokens(run, planted_model.weights, prompt)
        assert tokens[-1, end] == run.logits[prompt].argmax()
        assert not torch.equal(tokens[0], tokens[-1])
    table = top_tokens_of(planted_model, batch, run)
    assert [row[0] for row in table.rows][-2:] == ["before layer 11", "final"]
    assert table.rows[-1][-1] == planted_model.tokenizer.decode([run.logits[0].argmax()]).strip()


def test_name_movers_are_seen_to_attend_to_the_indirect_object(batch, run):
    drawing = attention_by_position("name movers", NAME_MOVERS, batch, run)
    values = {bar.label: bar.value for bar in drawing.bars}
    assert max(values, key=values.get) == "IO"
    assert sum(values.values()) <= 1


def test_what_a_name_mover_writes_grows_with_its_attention(planted_model, batch, run):
    to_io, to_s = attention_against_projection(Head(9, 9), planted_model.weights, batch, run).series
    assert to_io.names == [prompt.text for prompt in batch.prompts]
    assert max(to_s.x) < min(to_io.x)
    assert max(to_s.y) < max(to_io.y)


def test_lens_and_parts_end_at_the_logit_difference(planted_model, batch, run):
    whole = float(run.logit_difference(batch.answers).mean())
    lens = lens_by_layer(logit_lens(run, planted_model.weights, batch.answers))
    assert lens.series[0].y[-1] == pytest.approx(whole, rel=1e-3)
    parts = attribution_by_part(*attribution_by_layer(run, planted_model.weights, batch.answers))
    assert [bar.label for bar in parts.bars][11:13] == ["attention 11", "MLP 0"]


def test_changes_are_drawn_for_every_head_of_the_circuit_by_class():
    changes = torch.arange(144.0).view(12, 12, 1).expand(12, 12, 5)
    drawing = change_by_head("c", changes)
    assert [bar.label for bar in drawing.bars] == [str(head) for head in CIRCUIT_HEADS]
    assert {bar.group for bar in drawing.bars if bar.label in ("9.9", "9.6")} == {"name mover"}
    assert drawing.bars[0].value == 9 * 12 + 9


def test_signals_are_drawn_by_position():
    drawing = differences_by_signal({("random", "inverted"): torch.tensor([1.0, 3.0])})
    [bar] = drawing.bars
    assert (bar.label, bar.group, bar.value) == ("random token, inverted position", "inverted position", 2.0)
