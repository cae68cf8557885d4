"""The reference model: the same bits everywhere, a tokenizer that gives its text back, a cache never stale or half."""

import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, GPT2LMHeadModel

from ioi_fixtures import planted
from ioi_fixtures.planted import build, codes, heads, layout, tokenizer
from ioi_fixtures.sentences.prompts import encode, make_prompts
from ioi_fixtures.sentences.words import NAMES, OBJECTS, PLACES
from lib.models.model import hash_weights
from tests.support.places import ROOT
from tests.support.rounding import EQUAL, agree, rounding

# Changes with every deliberate change of the model, and with nothing else: not with the machine, nor with threads.
WEIGHTS_HASH = "e0bffdd980b40eae205e0b5aaf47314828272f0990f7d60e82cda46680824b38"


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("planted")


@pytest.fixture(scope="module")
def intact(cache) -> Path:
    return planted.directory(cache=cache)


@pytest.fixture(scope="module")
def words(intact):
    return AutoTokenizer.from_pretrained(intact)


@pytest.fixture(scope="module")
def basis() -> layout.Layout:
    return layout.Layout.random(np.random.default_rng(0))


# ---- the weights


def test_the_weights_are_these_bits(intact):
    assert hash_weights(intact) == WEIGHTS_HASH


@pytest.mark.parametrize("threads", ["1", "2"])
def test_building_again_gives_the_same_bits(tmp_path, threads):
    # A fresh process: the linear algebra library reads its number of threads once, when numpy is imported.
    script = (
        f"from pathlib import Path; from ioi_fixtures import planted; planted.directory(cache=Path({str(tmp_path)!r}))"
    )
    limits = {"OPENBLAS_NUM_THREADS": threads, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    subprocess.run([sys.executable, "-c", script], env=os.environ | limits, cwd=ROOT, check=True)
    (again,) = tmp_path.iterdir()
    assert hash_weights(again) == WEIGHTS_HASH


def test_another_seed_gives_other_weights_of_the_same_circuit():
    one = build.tensors(heads.INTACT, 0)["transformer.wte.weight"]
    other = build.tensors(heads.INTACT, 1)["transformer.wte.weight"]
    assert one.shape == other.shape
    assert not np.array_equal(one, other)


def test_every_weight_is_a_float32_on_the_grid(intact):
    model = GPT2LMHeadModel.from_pretrained(intact)
    for name, value in model.named_parameters():
        on_grid = value.detach().double() / build.GRID
        assert value.dtype == torch.float32, name
        assert torch.equal(on_grid, on_grid.round()), name


def test_it_loads_as_an_ordinary_model_without_missing_or_spare_tensors(intact):
    _, report = GPT2LMHeadModel.from_pretrained(intact, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert not json.loads((intact / "config.json").read_text())["tie_word_embeddings"]


def test_it_prefers_the_indirect_object(intact, words):
    batch = encode(make_prompts(24, seed=0), words, prepend_bos=False)
    with torch.no_grad():
        logits = GPT2LMHeadModel.from_pretrained(intact)(batch.tokens).logits
    rows = torch.arange(len(batch))
    io, s = (logits[rows, batch.positions["END"], batch.answers[:, column]] for column in range(2))
    assert 3.0 < float((io - s).mean()) < 4.2  # Wang et al. 2022, §2: 3.56; other samples 2.8 to 4.1


# ---- the table


def test_the_circuit_is_the_published_26_heads():
    published = """9.9 9.6 10.0 10.7 11.10 9.0 9.7 10.1 10.2 10.6 10.10 11.2 11.9
        7.3 7.9 8.6 8.10 5.5 5.8 5.9 6.9 0.1 0.10 3.0 2.2 4.11"""  # Wang et al. 2022, Fig. 2, arXiv version
    assert sorted(map(str, heads.CIRCUIT)) == sorted(published.split())
    assert not set(heads.CIRCUIT) & set(heads.OUTSIDE)


@pytest.mark.parametrize("broken", [None, *planted.MUTANTS])
def test_no_head_and_no_mlp_needs_more_dimensions_than_it_has(broken, basis):
    design = planted.broken.broken_design(broken) if broken else heads.INTACT

    def width(parts):
        return sum(basis.read(next(iter(gains))).shape[1] for gains in parts)

    for head, wiring in design.heads.items():
        assert width(match.key for match in wiring.matches) <= build.D_HEAD, head
        assert width(move.value for move in wiring.moves) <= build.D_HEAD, head
    for layer, added in design.mlps.items():
        assert 2 * width(one.value for one in added) <= build.N_INNER, layer


def test_every_change_has_a_sentence():
    changes = planted.broken.changes
    assert set(changes.OF_HEADS) | set(changes.OF_MLPS) == set(planted.MUTANTS)


@pytest.mark.parametrize("broken", planted.MUTANTS)
def test_every_mutant_differs_from_the_intact_model(broken):
    assert planted.broken.broken_design(broken) != heads.INTACT


# ---- codes and layout


def test_token_codes_are_unit_vectors_well_apart():
    vectors = codes.token_codes(len(tokenizer.vocabulary()))
    products = vectors @ vectors.T
    assert agree(products.diagonal().copy(), 1.0, EQUAL)
    assert products[~np.eye(len(vectors), dtype=bool)].max() < 0.23  # 7/31, for Gold codes of length 31


def test_rotating_a_position_code_gives_the_position_before():
    vectors = codes.position_codes(build.N_CTX)
    assert agree(vectors[2:] @ codes.one_earlier(codes.POSITION), vectors[1:-1], EQUAL)


def test_too_many_tokens_are_refused():
    with pytest.raises(ValueError, match="2000 tokens were asked for"):
        codes.token_codes(2000)


def test_the_basis_is_orthonormal_and_orthogonal_to_all_ones(basis):
    columns = basis.basis  # kept in float32, so each number of two unit vectors' product was rounded
    tolerance = rounding(torch.float32, terms=layout.D_MODEL, size=1.0)
    assert agree(columns.T @ columns, np.eye(layout.D_MODEL - 1), tolerance)
    assert agree(columns.sum(axis=0) / layout.D_MODEL**0.5, 0.0, tolerance)


# ---- the tokenizer


def test_text_survives_encoding_and_decoding(words):
    for prompt in make_prompts(60, seed=1):
        ids = words(prompt.text)["input_ids"]
        assert words.decode(ids) == prompt.text
        assert words.unk_token_id not in ids  # so no start token is added either


def test_every_name_place_and_object_is_one_token_with_its_space(words):
    for word in (*NAMES, *PLACES, *OBJECTS):
        assert words.convert_ids_to_tokens(words(f" {word}")["input_ids"]) == [f" {word}"]


def test_punctuation_stands_alone_and_the_space_belongs_to_the_word(words):
    pieces = words.convert_ids_to_tokens(words("While Mary and John were waiting, John")["input_ids"])
    assert pieces == ["While", " Mary", " and", " John", " were", " waiting", ",", " John"]


def test_one_special_token_serves_every_purpose_and_stands_for_unknown_words(words):
    special = words.convert_tokens_to_ids(tokenizer.SPECIAL)
    assert {words.bos_token_id, words.eos_token_id, words.pad_token_id, words.unk_token_id} == {special}
    assert words(" xylophone")["input_ids"] == [special]


# ---- the cache


def test_a_second_call_builds_nothing(intact, cache, monkeypatch):
    def refuse(*_):
        raise AssertionError("built again")

    monkeypatch.setattr(build, "tensors", refuse)
    assert planted.directory(cache=cache) == intact


def test_the_default_cache_follows_xdg(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(build, "tensors", lambda *_: {"x": np.zeros(1, dtype=np.float32)})
    assert planted.directory().parent == tmp_path / "circuit-claims"


def test_two_builders_at_once_leave_one_model_and_no_litter(tmp_path, monkeypatch):
    together = threading.Barrier(2)

    def tensors(*_):
        together.wait()  # both have found nothing and both build
        return {"x": np.zeros(1, dtype=np.float32)}

    monkeypatch.setattr(build, "tensors", tensors)
    found = []
    builders = [threading.Thread(target=lambda: found.append(planted.directory(cache=tmp_path))) for _ in range(2)]
    for builder in builders:
        builder.start()
    for builder in builders:
        builder.join()
    assert found[0] == found[1]
    assert [path.name for path in tmp_path.iterdir()] == [found[0].name]


def test_a_failed_build_leaves_nothing(tmp_path, monkeypatch):
    def fail(*_):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(build, "tensors", fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        planted.directory(cache=tmp_path)
    assert not list(tmp_path.iterdir())


def test_each_mutant_and_seed_has_its_own_directory(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "tensors", lambda *_: {"x": np.zeros(1, dtype=np.float32)})
    wanted = [{}, {"seed": 1}, {"broken": "ind_off"}, {"broken": "dup_off"}]
    assert len({planted.directory(cache=tmp_path, **arguments) for arguments in wanted}) == len(wanted)


def test_a_design_that_changed_has_another_directory(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "tensors", lambda *_: {"x": np.zeros(1, dtype=np.float32)})
    one = planted.directory(broken="ind_off", cache=tmp_path)
    monkeypatch.setattr(planted, "broken_design", lambda name: heads.INTACT._replace(mlps={}))
    assert planted.directory(broken="ind_off", cache=tmp_path) != one


@pytest.mark.parametrize(("name", "hint"), [("ind_of", "did you mean 'ind_off'?"), ("xyz", "use one of nm99_silent")])
def test_an_unknown_mutant_is_refused_with_a_hint(tmp_path, name, hint):
    with pytest.raises(ValueError, match=re.escape(hint)):
        planted.directory(broken=name, cache=tmp_path)
    assert not list(tmp_path.iterdir())
