"""What is told of how often intervals hold the truth is counted right, and an interval that does not is seen."""

import numpy as np
import pytest
import torch

from benchmarks.pages import coverage, populations
from benchmarks.pages.coverage import Covered, covered, not_as_promised, page, spread
from benchmarks.pages.populations import Population
from lib.judging import statistics
from lib.judging.recorder import Recorder, Running
from lib.judging.statistics import Estimate, exact, mean_over_prompts
from tests.support.example_session import REFERENCES

NORMAL = Population("t", "normal", "mean_over_prompts", (np.random.default_rng(0).normal(3.0, 1.0, 4000),))


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
    monkeypatch.setattr(statistics, "RESAMPLES", 299)


def test_an_interval_that_holds_what_it_promises_is_counted_so():
    [found] = covered(NORMAL, [25], [1], draws=300)
    assert (found.n, found.looks, found.draws) == (25, 1, 300)
    assert 0.91 < found.share < 0.985
    assert 0 < found.above < 300 - found.held


def test_an_interval_that_was_made_a_point_holds_nothing(monkeypatch):
    def point(values):
        mean = values.mean().item()
        return Estimate(mean, mean, mean, len(values), "a point")

    monkeypatch.setattr(statistics, "mean_over_prompts", point)
    [found] = covered(NORMAL, [25], [1], draws=100)
    assert found.share == 0
    assert not_as_promised([found]) == ["mean_over_prompts, N = 25: 0.0% of 95.0%; the least is 0.0%, of normal"]


def of_kind(kind, *, n, held, looks=1):
    return Covered(kind, "a figure", n, looks, 1000, held, 10)


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (of_kind("correlation", n=16, held=700), False),  # on so few there is no verdict
        (of_kind("correlation", n=25, held=931), False),
        (of_kind("correlation", n=25, held=929), True),
        (of_kind("correlation", n=25, held=971), True),
        (of_kind("share", n=25, held=999), False),  # hits are whole numbers: exactly 95% cannot be had
        (of_kind("share", n=8, held=920), True),
        (of_kind("mean_over_prompts", n=8, held=700), False),
        (of_kind("mean_over_prompts", n=16, held=700), True),
        (of_kind("mean_over_prompts", n=100, held=951, looks=2), True),  # 97.5% are promised
    ],
)
def test_what_is_not_as_promised_is_told(found, told):
    assert bool(not_as_promised([found])) == told


def test_a_kind_is_judged_by_all_its_figures_and_the_page_names_the_worst():
    ones = [of_kind("ratio_of_means", n=25, held=held) for held in (900, 990)]
    assert not_as_promised(ones) == []
    text = page(ones, [of_kind("share", n=100, held=987)])
    assert "| ratio_of_means | 25 | 95.0% | 94.5% | 90.0% | 1.0% | 4.5% |" in text
    assert "| share: a figure | 100 | 95.0% | 98.7% |" in text


@pytest.mark.parametrize(("count", "most", "places"), [(10, 4, [0, 3, 6, 9]), (3, 24, [0, 1, 2]), (1, 4, [0])])
def test_figures_are_taken_from_all_families(count, most, places):
    assert spread(count, most) == places


def test_every_known_population_can_be_drawn_from():
    for one in coverage.known(size=2000):
        [found] = covered(one, [16], [2], draws=3)
        assert 0 <= found.share <= 1


def test_populations_are_read_as_they_were_kept(tmp_path):
    two = Population("t", "ratio", "ratio_of_means", (np.arange(3.0), np.ones(3)))
    populations.write([NORMAL, two], tmp_path / "kept.npz")
    first, second = populations.read(tmp_path / "kept.npz")
    assert first[:3] == NORMAL[:3]
    assert np.array_equal(first.values[0], NORMAL.values[0])
    assert [part.tolist() for part in second.values] == [[0, 1, 2], [1, 1, 1]]


def test_what_claims_compute_figures_from_is_kept_with_their_labels(monkeypatch, tmp_path):
    for kind in populations.KINDS:
        monkeypatch.setattr(statistics, kind, getattr(statistics, kind))  # what the plugin replaces is put back
    monkeypatch.setattr(Recorder, "__call__", Recorder.__call__)
    keeping = populations.Keeping(tmp_path / "kept.npz")
    estimate = statistics.mean_over_prompts(torch.tensor([1.0, 2.0, 3.0]), of="names")
    assert estimate == mean_over_prompts(torch.tensor([1.0, 2.0, 3.0]), of="names")
    [(known, kind, values)] = keeping.computed
    assert (known, kind) == (estimate, "mean_over_prompts")
    assert values[0].tolist() == [1, 2, 3]
    record = Recorder()
    record.running = Running("claims/a.py::t[s]", "s", [], [])
    record("difference", estimate, REFERENCES["difference"])
    record("weight", exact(1.0), REFERENCES["difference"])
    [found] = keeping.found
    assert found[:3] == ("claims/a.py::t[s]", "difference", "mean_over_prompts")
