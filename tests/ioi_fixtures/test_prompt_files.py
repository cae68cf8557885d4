"""Prompts from files: five formats become the prompts this suite draws, and whatever is not IOI is refused by line."""

import json

import pytest
import torch
from transformers import AutoTokenizer

from ioi_fixtures.sentences import variants
from ioi_fixtures.sentences.prompt_files import read_prompts, says_bos
from ioi_fixtures.sentences.prompts import encode
from ioi_fixtures.sentences.words import NAMES
from tests.support.word_tokenizer import word_level

MEETING = "At dawn Mary and John met by the lake, and John threw a stone to"
OFFICE = "At dusk Paul and Anna left the office, and Paul wrote a note to"
TWO = [(MEETING, "Mary", "John"), (OFFICE, "Anna", "Paul")]
LONGER = "At dusk Paul and Anna left the head office, and Paul wrote a note to"


@pytest.fixture(scope="module")
def tokenizer():
    words = set(f"{MEETING} {OFFICE} {LONGER}".replace(",", "").split()).union(NAMES, "{}x,'s", ["Johnson"])
    return word_level(words, bos_token="<end>", eos_token="<end>")


@pytest.fixture
def read(tmp_path, tokenizer):
    """Writes rows as JSON lines, or anything else as one JSON document, and reads it back as prompts."""

    def write_and_read(content, *, lines=False):
        path = tmp_path / "prompts.json"
        path.write_text("\n".join(json.dumps(row) for row in content) if lines else json.dumps(content))
        return read_prompts(path, tokenizer)

    return write_and_read


@pytest.mark.parametrize(
    ("rows", "said"),
    [(["true", "true"], True), ([False, False], False), ([None, None], None)],
)
def test_a_file_may_say_whether_prompts_begin_with_the_start_token(rows, said, tmp_path, tokenizer):
    path = tmp_path / "prompts.jsonl"
    path.write_text(
        "\n".join(json.dumps(ours(text, *names, bos=bos)) for (text, *names), bos in zip(TWO, rows, strict=True))
    )
    assert says_bos(path) is said
    assert len(read_prompts(path, tokenizer)) == 2
    path.write_text(json.dumps({"clean": MEETING, "answers": " Mary", "wrong_answers": " John"}))
    assert says_bos(path) is None


def test_rows_that_say_otherwise_are_refused(tmp_path):
    path = tmp_path / "prompts.jsonl"
    path.write_text("\n".join(json.dumps(ours(bos=bos)) for bos in (True, True, False)))
    with pytest.raises(ValueError, match="bos is True at line 1 and False at line 3: it is one for the whole file"):
        says_bos(path)


def ours(text=MEETING, io="Mary", s="John", **more):
    return {"prompt": text, "io": io, "s": s, **more}


def easy_transformer(text, io, s, **more):
    return {"text": f"{text} {io}", "IO": io, "S": s, "[PLACE]": "lake", **more}


def eap_ig(tokenizer, text, io, s):
    correct, incorrect = (tokenizer(f" {name}", add_special_tokens=False)["input_ids"][0] for name in (io, s))
    return {"clean": text, "corrupted": "not read", "correct_idx": correct, "incorrect_idx": incorrect}


def mib(text, io, s, **more):
    names = {"indirect_object": io, "subject": s, "object": "stone", "place": "lake", "random_c": "Karen"}
    flip = {"prompt": "not read", "choices": [s, io], "answerKey": 0}
    return {
        "prompt": text,
        "choices": [io, s],
        "answerKey": 0,
        "metadata": names,
        "s2_io_flip_counterfactual": flip,
        **more,
    }


def auto_circuit(text, io, s):
    return {"clean": text, "corrupt": "not read", "answers": [f" {io}"], "wrong_answers": [f" {s}"]}


def in_every_format(read, tokenizer, *prompts):
    yield "ours", read([ours(*prompt) for prompt in prompts], lines=True)
    yield "Easy-Transformer", read([easy_transformer(*prompt) for prompt in prompts])
    yield "MIB", read([mib(*prompt) for prompt in prompts], lines=True)
    yield "EAP-IG", read([eap_ig(tokenizer, *prompt) for prompt in prompts], lines=True)
    yield "auto-circuit", read({"word_idxs": {"IO": 99}, "prompts": [auto_circuit(*prompt) for prompt in prompts]})


# ---------------------------------------------------------------------------------------------------- what is read


def test_every_format_gives_the_same_prompts(read, tokenizer):
    for name, prompts in in_every_format(read, tokenizer, (MEETING, "Mary", "John"), (OFFICE, "Anna", "Paul")):
        assert [prompt.text for prompt in prompts] == [MEETING, OFFICE], name
        assert [(prompt.order, prompt.io, prompt.s1, prompt.s2) for prompt in prompts] == [
            ("ABBA", "Mary", "John", "John"),
            ("BABA", "Anna", "Paul", "Paul"),
        ], name
        assert [prompt.answers for prompt in prompts] == [("Mary", "John"), ("Anna", "Paul")], name
        assert prompts[0].pattern == "At dawn {A} and {B} met by the lake, and {S} threw a stone to", name


@pytest.mark.parametrize("prepend_bos", [False, True])
def test_positions_are_found_by_token(read, tokenizer, prepend_bos):
    prompts = read([ours(), ours(OFFICE, "Anna", "Paul")], lines=True)
    batch = encode(prompts, tokenizer, prepend_bos=prepend_bos)
    assert {name: (position - int(prepend_bos)).tolist() for name, position in batch.positions.items()} == {
        "IO": [2, 4],
        "S1": [4, 2],
        "S1+1": [5, 3],
        "S2": [11, 10],
        "END": [15, 14],
    }
    assert tokenizer.batch_decode(batch.answers[:, :1]) == ["Mary", "Anna"]


def test_variants_work_on_foreign_prompts(read, tokenizer):
    prompts = read([ours(), ours(OFFICE, "Anna", "Paul")], lines=True)
    assert variants.swap_s2(prompts)[0].text == MEETING.replace("and John threw", "and Mary threw")
    assert variants.flip_order(prompts)[1].text == OFFICE.replace("Paul and Anna", "Anna and Paul")
    abc = encode(variants.abc(prompts, seed=0), tokenizer, prepend_bos=False)
    assert torch.equal(abc.positions["END"], encode(prompts, tokenizer, prepend_bos=False).positions["END"])


def test_a_name_may_be_followed_by_an_apostrophe_and_a_text_may_hold_braces(read):
    text = "At dawn {x} Mary and John met by the lake, and John's note left to"
    assert read([ours(text)], lines=True)[0].text == text


def test_an_answer_with_its_leading_space_is_the_same_name(read):
    for row in (ours(io=" Mary", s=" John"), mib(MEETING, " Mary", " John")):
        [prompt] = read([row], lines=True)
        assert (prompt.io, prompt.s1) == ("Mary", "John")
    [prompt] = read([easy_transformer(MEETING, "Mary", "John") | {"IO": " Mary", "S": " John"}])
    assert (prompt.text, prompt.io, prompt.s1) == (MEETING, "Mary", "John")


def test_a_name_inside_another_name_is_not_the_name(read, tokenizer):
    prompts = read([ours(MEETING.replace("a stone", "Johnson a stone"))], lines=True)
    assert encode(prompts, tokenizer, prepend_bos=False).positions["S2"].tolist() == [11]


def test_only_a_newline_ends_a_line(tmp_path, tokenizer):
    path = tmp_path / "prompts.jsonl"
    rows = (ours(template="line\u2028separator"), ours())
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8-sig")
    assert len(read_prompts(path, tokenizer)) == 2


def test_lines_may_be_blank_and_one_line_is_a_file(tmp_path, tokenizer):
    path = tmp_path / "prompts.jsonl"
    path.write_text("\n" + json.dumps(ours()) + "\n\n", encoding="utf-8")
    assert [prompt.text for prompt in read_prompts(str(path), tokenizer)] == [MEETING]


# ---------------------------------------------------------------------------------------------------- groups


def test_prompts_of_one_layout_share_a_group_in_either_order(read):
    other_order = MEETING.replace("Mary and John", "John and Mary")
    prompts = read([ours(), ours(OFFICE, "Anna", "Paul"), ours(other_order)], lines=True)
    assert [prompt.template for prompt in prompts] == [0, 1, 0]


def test_template_labels_of_the_file_separate_groups_of_one_layout(read):
    rows = [easy_transformer(MEETING, "Mary", "John", TEMPLATE_IDX=label) for label in (7, 3, 7)]
    assert [prompt.template for prompt in read(rows)] == [0, 1, 0]
    rows = [mib(MEETING, "Mary", "John", template=label) for label in ("first", "second")]
    assert [prompt.template for prompt in read(rows, lines=True)] == [0, 1]
    rows = [ours(template=label) for label in ("first", 2, "first")]
    assert [prompt.template for prompt in read(rows, lines=True)] == [0, 1, 0]


def test_one_label_with_two_layouts_is_two_groups(read, tokenizer):
    prompts = read([ours(OFFICE, "Anna", "Paul", template=0), ours(LONGER, "Anna", "Paul", template=0)], lines=True)
    assert [prompt.template for prompt in prompts] == [0, 1]
    assert len(encode(prompts, tokenizer, prepend_bos=False)) == 2


# ---------------------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (ours(MEETING.replace("and John threw", "and Paul threw")), "IO 'Mary' occurs 1 times and S 'John' 1 times"),
        (ours(MEETING.replace("lake", "lake and Mary")), "IO 'Mary' occurs 2 times"),
        (ours(io="Anna"), "IO 'Anna' occurs 0 times"),
        (ours(f"{MEETING} Mary"), "ends in its answer 'Mary'; leave the answer out"),
        (ours(f"{MEETING} "), "ends in a space"),
        (ours("At dawn John met by the lake, and John and Mary threw a stone to"), "IO 'Mary' comes after S2"),
        (ours("Mary and John met by the lake, and John threw a stone to"), "a name is not preceded by a space"),
        (ours(io="John"), "IO and S are both 'John'"),
        (ours(MEETING.replace("Mary", "Mary-Ann"), io="Mary-Ann"), r"'Mary-Ann' \(3 tokens\)"),
        (ours(MEETING.replace("Mary", "Zaphod"), io="Zaphod"), r"'Zaphod' \(unknown\)"),
        (ours(MEETING.replace("stone", "boulder")), "holds 'boulder', which .* does not know"),
        (ours(f"<|endoftext|>{MEETING}"), r"the text begins with the special token '<\|endoftext\|>': .* take it out"),
        (ours(f"<end>{MEETING}"), "the text begins with the special token '<end>'"),
        (ours(MEETING.replace("a stone", "<end> a stone")), "the text holds the special token '<end>'"),
        (ours(MEETING.replace("Mary and John", "Mary, John and Paul")), "it names 'Paul'; IOI has two people"),
        (ours(subject="John"), r"unknown key 'subject': did you mean 's'\?"),
        ({"prompt": MEETING, "IO": "Mary", "s": "John"}, r"unknown key 'IO': did you mean 'io'\?"),
        ({"prompt": MEETING, "indirect_object": "Mary", "s": "John"}, r"'indirect_object': did you mean 'io'\?"),
        (ours(tmplate=3), r"unknown key 'tmplate': did you mean 'template'\?"),
        (ours(colour=3), "unknown key 'colour': use one of prompt, io, s, template, bos"),
        ({"prompt": MEETING, "io": "Mary"}, "key 's' is missing: there are 'prompt', 'io'"),
        ({"prompt": MEETING, "io": 5, "s": "John"}, "io: Input should be a valid string"),
        ([], "Input should be a valid dictionary"),
    ],
)
def test_what_is_not_ioi_is_refused_by_line_with_its_reason(read, row, reason):
    with pytest.raises(ValueError, match=rf"(?s)prompts.json: 1 of 3 prompts refused\n  line 2: .*{reason}"):
        read([ours(), row, ours()], lines=True)


def test_token_ids_of_another_tokenizer_are_refused_for_what_they_are(read, tokenizer):
    row = eap_ig(tokenizer, MEETING, "Mary", "John")
    for token, means in ((10**6, "unknown"), (-1, "unknown"), (tokenizer.convert_tokens_to_ids("Anna"), "Anna")):
        with pytest.raises(
            ValueError, match=f"correct_idx {token} is '{means}' to this model's tokenizer, .* 'answers'"
        ):
            read([row | {"correct_idx": token}])
    [prompt] = read([row | {"correct_idx": -1, "answers": " Mary", "wrong_answers": " John"}])
    assert (prompt.io, prompt.s1) == ("Mary", "John")


def test_a_name_without_its_leading_space_is_another_token(tmp_path, real_gpt2_files):
    gpt2 = AutoTokenizer.from_pretrained(real_gpt2_files)
    rows = [eap_ig(gpt2, MEETING, "Mary", "John")]
    (tmp_path / "rows.jsonl").write_text(json.dumps(rows[0]))
    assert [prompt.io for prompt in read_prompts(tmp_path / "rows.jsonl", gpt2)] == ["Mary"]
    [bare] = gpt2("Mary")["input_ids"]
    (tmp_path / "rows.jsonl").write_text(json.dumps(rows[0] | {"correct_idx": bare}))
    with pytest.raises(ValueError, match=f"correct_idx {bare} is 'Mary' to this model's tokenizer, not the token of"):
        read_prompts(tmp_path / "rows.jsonl", gpt2)


def test_rows_of_a_list_are_counted_from_one(read):
    rows = [easy_transformer(MEETING, "Mary", "John"), {"text": MEETING, "IO": "Mary", "S": "John"}]
    with pytest.raises(ValueError, match="row 2: the text does not end in its answer 'Mary'"):
        read(rows)


def test_more_than_one_answer_is_refused(read):
    row = auto_circuit(MEETING, "Mary", "John") | {"answers": [" Mary", " Anna"]}
    with pytest.raises(ValueError, match="row 1: answers: List should have at most 1 item"):
        read({"prompts": [row]})


def test_a_key_that_is_missing_is_sought_among_those_there_are(read):
    row = auto_circuit(MEETING, "Mary", "John")
    row["wrong_answer"] = row.pop("wrong_answers")
    with pytest.raises(ValueError, match="'wrong_answers' is missing, but there is 'wrong_answer': did you mean"):
        read({"prompts": [row]})


def test_every_refused_line_is_named_up_to_a_screenful(read):
    reasons = [ours(MEETING.replace("stone", f"stone{i}")) for i in range(30)]
    with pytest.raises(ValueError, match=r"(?s)30 of 31 prompts refused\n  line 2: .*\n  line 21: .*\n  and 10 more$"):
        read([ours(), *reasons], lines=True)


def test_what_is_refused_alike_is_said_once(read):
    with pytest.raises(
        ValueError, match=r"32 of 33 prompts refused\n  lines 1, 3, .*, 21 and 12 more: IO and S are both"
    ):
        read([ours(io="John"), ours(), *[ours(io="John")] * 31], lines=True)
    with pytest.raises(
        ValueError, match=r"(?s)lines 1, 3: IO and S are both 'John'\n  line 2: IO 'Anna' occurs 0 times"
    ):
        read([ours(io="John"), ours(io="Anna"), ours(io="John")], lines=True)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no prompts in this file"),
        ("[]", "no prompts in this file"),
        ("3", "expected a list of prompts, JSON lines, CSV, or an object with 'prompts'"),
        ('{"prompts": 3}', "expected a list of prompts"),
        ('{"sentence": "x"}', r"unknown format: its first prompt has the keys \['sentence'\]; the simplest format is"),
        ("[3]", r"unknown format: its first prompt has the keys \[\]"),
        (json.dumps(ours()) + "\n{oops}", "line 2 is not JSON"),
    ],
)
def test_what_is_not_a_prompt_file_is_refused(tmp_path, tokenizer, text, reason):
    path = tmp_path / "prompts.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=f"prompts.json: .*{reason}"):
        read_prompts(path, tokenizer)
