"""The page about three seeds' training: when something appears, and that what is kept is what the page is about."""

import json

import pytest

from benchmarks.pages import evidence
from benchmarks.pages.training import FILE, KEPT, by_line, ends, file_of, half_way, holding
from lib.sweep.records import Column, Sweep

COLUMN = {"source": "", "kind": "ran", "message": "", "report": "", "circuit": "", "weights_hash": "", "started": ""}


def columns(*steps):
    return [Column(name=f"m@step{step}", line="m", step=step, seconds=0, peak_bytes=0, **COLUMN) for step in steps]


@pytest.mark.parametrize(
    ("values", "step"),
    [
        ((0.0, 0.1, 0.6, 1.0), "100"),
        ((0.9, 0.1, 0.6, 1.0), "100"),  # what goes away again has not appeared
        ((0.6, 0.7, 0.8, 1.0), "1"),
        ((0.0, 0.0, 0.0, 1.0), "1,000"),
        ((0.6, 0.7, 0.8, -1.0), ""),
    ],
)
def test_what_has_appeared_stays_above_half_of_its_end(values, step):
    models = columns(1, 10, 100, 1000)
    named = {one.name: value for one, value in zip(models, values, strict=True)}
    assert half_way(named, models) == step


def test_what_is_measured_late_appears_no_sooner():
    models = columns(1, 10, 100)
    assert half_way({"m@step10": 1.0, "m@step100": 1.0}, models) == "10"


@pytest.fixture(scope="module")
def kept():
    return Sweep.model_validate_json((KEPT / "sweep.json").read_bytes())


def test_the_kept_record_is_of_log_spaced_steps_that_were_all_asked(kept):
    assert {one.kind for one in kept.columns} == {"ran"}
    assert {len(found) for found in by_line(kept).values()} == {16}
    assert [one.step for one in kept.columns[:16]] == sorted(one.step for one in kept.columns[:16])


def test_the_page_is_of_the_kept_record(kept):
    text = (evidence.FOLDER / "TRAINING.md").read_text(encoding="utf-8")
    for row in (*holding(kept), *ends(kept)):
        assert row in text
    assert f"{len(kept.columns)} checkpoints" in text
    assert len((KEPT / "sweep.html").read_bytes()) < 3_000_000


def test_a_seed_that_was_not_trained_is_left_out_of_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr("benchmarks.pages.training.CHECKPOINTS", tmp_path)
    text = file_of([1]).read_text(encoding="utf-8")
    assert "seed1/" in text
    assert "seed0/" not in text
    assert json.dumps(str(FILE.with_name("seed0.toml"))) in text
