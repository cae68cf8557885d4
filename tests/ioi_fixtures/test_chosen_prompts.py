"""Which prompts of a file a session runs: the different ones, enough of them, and no more than were asked for."""

import json
from collections import Counter

import pytest

from ioi_fixtures.sentences.prompt_files import choose_prompts, read_prompts, sample
from ioi_fixtures.sentences.prompts import make_prompts
from tests.support.word_tokenizer import word_level


@pytest.fixture(scope="module")
def tokenizer():
    return word_level(bos_token="<bos>", pad_token="<pad>")


@pytest.fixture
def file(tmp_path):
    """Writes prompts as JSON lines."""

    def write(prompts):
        path = tmp_path / "prompts.jsonl"
        rows = [{"prompt": one.text, "io": one.io, "s": one.s1, "template": one.template} for one in prompts]
        path.write_text("\n".join(map(json.dumps, rows)))
        return path

    return write


def texts(prompts):
    return [prompt.text for prompt in prompts]


PROMPTS = make_prompts(120, seed=1)
LIMITS = {"at_least": 24, "at_most": 100, "seed": 0}


def test_a_file_of_enough_prompts_is_taken_whole(file, tokenizer):
    chosen = choose_prompts(file(PROMPTS[:24]), tokenizer, **LIMITS)
    assert texts(chosen.prompts) == texts(PROMPTS[:24])
    assert (chosen.notes, chosen.available) == (("24 of 24 rows of prompts.jsonl",), 24)


def test_a_file_of_too_few_prompts_is_refused_as_a_whole(file, tokenizer):
    for count, says in ((23, "23 prompts"), (1, "1 prompt")):
        with pytest.raises(ValueError, match=rf"prompts.jsonl: {says}, and no figure of fewer than 24 .* larger file$"):
            choose_prompts(file(PROMPTS[:count]), tokenizer, **LIMITS)


def test_what_is_repeated_is_named_and_counted_once(file, tokenizer):
    chosen = choose_prompts(file([*PROMPTS[:30], PROMPTS[4], PROMPTS[2]]), tokenizer, **LIMITS)
    assert texts(chosen.prompts) == texts(PROMPTS[:30])
    assert chosen.notes == (
        "30 of 32 rows of prompts.jsonl",
        "prompts.jsonl: line 31 repeats line 5, and 1 more; what is repeated is counted once",
    )
    with pytest.raises(ValueError, match=r"jsonl: 1 different prompt, .* \(.*line 2 repeats line 1, and 98 more; "):
        choose_prompts(file(PROMPTS[:1] * 100), tokenizer, **LIMITS)


def test_what_the_model_cannot_tell_apart_is_repeated(tmp_path, tokenizer):
    row = {"prompt": PROMPTS[0].text, "io": PROMPTS[0].io, "s": PROMPTS[0].s1}
    rows = [row, row | {"prompt": row["prompt"].replace(" at ", "  at ")}, row | {"template": 7}]
    (tmp_path / "three.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert len(read_prompts(tmp_path / "three.jsonl", tokenizer)) == 3
    assert choose_prompts(tmp_path / "three.jsonl", tokenizer, **LIMITS | {"at_least": 1}).available == 1


def test_of_a_larger_file_a_seed_draws_a_sample(file, tokenizer):
    path = file(PROMPTS)
    chosen = choose_prompts(path, tokenizer, **LIMITS | {"at_most": 48})
    assert len(chosen.prompts) == 48
    assert (chosen.notes, chosen.available) == (("48 of 120 rows of prompts.jsonl, drawn by seed 0",), 120)
    places = [texts(PROMPTS).index(text) for text in texts(chosen.prompts)]
    assert places == sorted(set(places))  # without replacement, in the order of the file
    assert choose_prompts(path, tokenizer, **LIMITS | {"at_most": 48}) == chosen
    assert choose_prompts(path, tokenizer, **LIMITS | {"at_most": 48, "seed": 1}).prompts != chosen.prompts


@pytest.mark.parametrize("seed", range(5))
def test_a_sample_is_balanced_as_the_file_is(seed):
    many = [*make_prompts(600, seed=0, templates=(0, 1)), *make_prompts(200, seed=1, templates=(2,), orders=("ABBA",))]
    found = Counter((one.template, one.order) for one in sample(many, 80, seed=seed))
    expected = {key: count / 10 for key, count in Counter((one.template, one.order) for one in many).items()}
    assert set(found) == set(expected)
    assert all(abs(found[key] - expected[key]) <= 1 for key in expected)


def test_every_prompt_of_a_file_is_as_likely_as_another():
    many = make_prompts(30, seed=0)
    counts = Counter(prompt for seed in range(2000) for prompt in sample(many, 12, seed=seed))
    assert sum(counts.values()) == 12 * 2000
    assert all(abs(counts[prompt] / 2000 - 12 / 30) < 0.05 for prompt in many)  # 4.6 standard errors
