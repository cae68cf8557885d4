"""Batches: positions right by token, padding on the right, and nothing wrong let through."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import processors
from transformers import AutoTokenizer

from ioi_fixtures.sentences import variants
from ioi_fixtures.sentences.prompts import Prompt, check_words, encode, make_prompts
from ioi_fixtures.sentences.strategies import batches_of_prompts
from ioi_fixtures.sentences.words import NAMES, OBJECTS, PLACES, TEMPLATES
from tests.support.word_tokenizer import word_level

few = settings(derandomize=True, deadline=None, max_examples=25)
seeds = st.integers(0, 2**16)
IOI = Prompt(0, "When {A} and {B} met, {S} spoke to", "ABBA", io="Mary", s1="John", s2="John", answers=("Mary", "John"))


@pytest.fixture(scope="module")
def tokenizer():
    return word_level(bos_token="<bos>", pad_token="<pad>")


@pytest.fixture(scope="module")
def gpt2_tokenizer(real_gpt2_files):
    return AutoTokenizer.from_pretrained(real_gpt2_files)


@few
@given(prompts=batches_of_prompts(), prepend_bos=st.booleans(), seed=seeds)
def test_positions_are_right_by_token(tokenizer, prompts, prepend_bos, seed):
    for these in (prompts, variants.abc(prompts, seed=seed), variants.swap_s2(prompts)):
        batch = encode(these, tokenizer, prepend_bos=prepend_bos)
        for i, prompt in enumerate(these):
            words = tokenizer.convert_ids_to_tokens(batch.tokens[i].tolist())
            at = {name: int(position[i]) for name, position in batch.positions.items()}
            assert [words[at[role]] for role in ("IO", "S1", "S2", "END")] == [prompt.io, prompt.s1, prompt.s2, "to"]
            assert at["S1+1"] == at["S1"] + 1
            assert at["END"] == batch.lengths[i] - 1
            assert (at["IO"] < at["S1"]) == (prompt.order == "ABBA")
            assert max(at["IO"], at["S1"]) < at["S2"] < at["END"]
            assert (words[0] == "<bos>") == prepend_bos
            assert set(words[at["END"] + 1 :]) <= {"<pad>"}
            assert tokenizer.convert_ids_to_tokens(batch.answers[i].tolist()) == list(prompt.answers)


@few
@given(prompts=batches_of_prompts())
def test_a_start_token_moves_every_position_by_one(tokenizer, prompts):
    without, with_bos = (encode(prompts, tokenizer, prepend_bos=bos) for bos in (False, True))
    assert torch.equal(with_bos.tokens[:, 1:], without.tokens)
    assert all(torch.equal(with_bos.positions[name], without.positions[name] + 1) for name in without.positions)


@pytest.mark.parametrize("prepend_bos", [False, True])
def test_a_tokenizer_that_adds_a_start_token_by_itself_is_overruled(tokenizer, prepend_bos):
    eager = word_level(bos_token="<bos>", pad_token="<pad>")
    eager.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A", special_tokens=[("<bos>", eager.bos_token_id)]
    )
    assert eager("Mary")["input_ids"] == [eager.bos_token_id, *eager("Mary", add_special_tokens=False)["input_ids"]]
    prompts = make_prompts(12, seed=0)
    batch = encode(prompts, eager, prepend_bos=prepend_bos)
    assert torch.equal(batch.tokens, encode(prompts, tokenizer, prepend_bos=prepend_bos).tokens)


def test_both_orders_of_a_template_share_a_group(tokenizer):
    batch = encode(make_prompts(48, seed=0), tokenizer, prepend_bos=False)
    for template in batch.template.unique():
        group = batch[batch.template == template]
        assert {prompt.order for prompt in group.prompts} == {"ABBA", "BABA"}
        assert all(group.positions[name].unique().numel() == 1 for name in ("S2", "END"))


def test_a_batch_is_indexed_by_slice_index_and_mask(tokenizer):
    batch = encode(make_prompts(6, seed=0), tokenizer, prepend_bos=True)
    chosen = torch.tensor([4, 1])
    mask = torch.tensor([False, True, False, False, True, False])
    for part, rows in ((batch[1:3], [1, 2]), (batch[chosen], [4, 1]), (batch[mask], [1, 4])):
        assert part.prompts == tuple(batch.prompts[i] for i in rows)
        assert torch.equal(part.tokens, batch.tokens[rows])
        assert torch.equal(part.positions["S1+1"], batch.positions["S1+1"][rows])
        assert torch.equal(part.answers, batch.answers[rows])
        assert torch.equal(part.template, batch.template[rows])
        assert part.prepend_bos
        assert part.sentence(0) == batch.sentence(rows[0]) == batch.prompts[rows[0]].text


@pytest.mark.parametrize("index", [2, slice(6, 6), torch.tensor(3), torch.tensor([[0, 1]])])
def test_an_index_that_is_not_a_list_of_prompts_is_refused(tokenizer, index):
    batch = encode(make_prompts(6, seed=0), tokenizer, prepend_bos=True)
    with pytest.raises(ValueError, match="does not choose a list of prompts"):
        batch[index]


def test_a_batch_moves_whole_and_cannot_be_changed(tokenizer):
    batch = encode(make_prompts(3, seed=0), tokenizer, prepend_bos=True)
    moved = batch.to("meta")
    tensors = (moved.tokens, moved.lengths, moved.answers, moved.template, *moved.positions.values())
    assert {tensor.device.type for tensor in tensors} == {"meta"}
    with pytest.raises(AttributeError):
        batch.tokens = moved.tokens
    with pytest.raises(TypeError):
        batch.positions["END"] = moved.lengths


def test_a_batch_prints_in_one_line(tokenizer):
    batch = encode(make_prompts(14, seed=0), tokenizer, prepend_bos=True)
    assert repr(batch) == "Batch(N=14, templates=12, lengths=14-22, with BOS)"


def test_an_empty_batch_is_refused(tokenizer):
    with pytest.raises(ValueError, match="no prompts to encode"):
        encode([], tokenizer, prepend_bos=False)


def test_unknown_words_are_all_named(tokenizer):
    with pytest.raises(ValueError, match=r"'Zaphod' \(unknown\), 'Zoltan' \(unknown\).*use other words"):
        check_words(tokenizer, ["Mary", "Zoltan", "Zaphod"])
    with pytest.raises(ValueError, match="'Zaphod'"):
        encode([replace(IOI, io="Zaphod")], tokenizer, prepend_bos=False)


def test_words_of_several_tokens_are_all_named(tokenizer):
    with pytest.raises(ValueError, match=r"'Anne-Marie' \(3 tokens\), 'Jean-Luc' \(3 tokens\)"):
        check_words(tokenizer, ["Mary", "Jean-Luc", "Anne-Marie"])


def test_answers_are_checked_as_well(tokenizer):
    with pytest.raises(ValueError, match="Zaphod"):
        encode([replace(IOI, answers=("Zaphod", "John"))], tokenizer, prepend_bos=False)


def test_an_unknown_word_outside_the_names_is_refused(tokenizer):
    with pytest.raises(ValueError, match=r"holds 'Whenever', which .* does not know"):
        encode([replace(IOI, pattern="Whenever {A} and {B} met, {S} gave a box to")], tokenizer, prepend_bos=True)


def test_a_name_that_is_not_at_its_position_is_refused(gpt2_tokenizer):
    glued = replace(IOI, pattern="When {A}s and {B} met, {S} gave a box to", io="Mark")
    with pytest.raises(ValueError, match="IO is 'Mark' but position 1 holds ' Marks'"):
        encode([glued], gpt2_tokenizer, prepend_bos=False)


def test_two_layouts_in_one_template_are_refused(tokenizer):
    first = replace(IOI, pattern="When {A} and {B} met, {S} gave a box to")
    later = replace(first, pattern="When {A} and {B} met, and {S} gave a box to")
    with pytest.raises(
        ValueError, match=r"template 0 has two layouts: .* at \(1, 3, 6, 10\) in .*, at \(1, 3, 7, 11\)"
    ):
        encode([first, later], tokenizer, prepend_bos=False)
    assert len(encode([first, replace(later, template=1)], tokenizer, prepend_bos=False)) == 2


def test_a_missing_start_token_is_refused_only_where_it_is_needed():
    tokenizer = word_level(pad_token="<pad>")
    with pytest.raises(ValueError, match="has no start token; use prepend_bos=False"):
        encode(make_prompts(2, seed=0), tokenizer, prepend_bos=True)
    assert not encode(make_prompts(2, seed=0), tokenizer, prepend_bos=False).prepend_bos


def test_padding_is_the_end_token_where_there_is_no_other():
    with_end = word_level(eos_token="<eos>")
    batch = encode(make_prompts(12, seed=0), with_end, prepend_bos=False)
    assert batch.tokens[0, -1] == with_end.eos_token_id
    with pytest.raises(ValueError, match="neither a padding nor an end token"):
        encode(make_prompts(2, seed=0), word_level(), prepend_bos=False)


def test_every_word_is_one_token_of_gpt2(gpt2_tokenizer):
    ids = check_words(gpt2_tokenizer)
    assert len(set(ids.values())) == len(ids) == len(NAMES) + len(PLACES) + len(OBJECTS)
    assert (ids["Mary"], ids["John"]) == (5335, 1757)


def test_gpt2_reads_a_prompt_as_these_tokens(gpt2_tokenizer):
    batch = encode(make_prompts(12, seed=1), gpt2_tokenizer, prepend_bos=True)
    # " Emily" is 17608 and " Elizabeth" 10674; 50256 is both start token and padding.
    golden = [50256, 3633, 17608, 290, 10674, 547, 4953, 379, 262, 7072, 11, 10674, 10158, 257, 3091, 284]
    assert batch.tokens[0].tolist() == golden + [50256] * 6
    assert {name: int(position[0]) for name, position in batch.positions.items()} == {
        "IO": 2, "S1": 4, "S1+1": 5, "S2": 11, "END": 15,
    }  # fmt: skip
    assert batch.answers[0].tolist() == [17608, 10674]
    assert (batch.lengths[0], batch.template[0]) == (16, 0)


def test_every_template_and_order_encodes_for_gpt2(gpt2_tokenizer):
    prompts = make_prompts(4 * len(TEMPLATES), seed=0)
    batch = encode(prompts, gpt2_tokenizer, prepend_bos=False)
    for i, prompt in enumerate(prompts):
        assert gpt2_tokenizer.decode(batch.tokens[i, : batch.lengths[i]]) == prompt.text


def test_a_name_of_two_gpt2_tokens_is_refused(gpt2_tokenizer):
    with pytest.raises(ValueError, match=r"'Bartholomew' \(\d tokens\)"):
        encode([replace(IOI, io="Bartholomew")], gpt2_tokenizer, prepend_bos=True)
