"""What the sentence of a comparison must not leave out."""

import numpy as np

from lib.judging.baselines import compare
from lib.reports.drift_page import page
from lib.reports.drift_words import drift_list, drift_sentence
from tests.judging.test_baselines import VALUES, mean, session

OLD, NEW = "e0bffdd9" * 8, "1a2b3c4d" * 8


def run(values, weights, **changes):
    return session(mean(values), subject={"weights_hash": weights}, **changes)


def test_weights_that_changed_are_named_where_nothing_drifted():
    edited = VALUES + np.random.default_rng(6).normal(0, 1e-6, 100)
    comparison = compare(run(VALUES, OLD), run(edited, NEW), name="kept.json")
    said = "none of 1 figures drifted, though the weights of planted changed: e0bffdd9 -> 1a2b3c4d"
    assert drift_sentence(comparison) == said
    assert f"Against the baseline: {said.replace('>', '&gt;')}</h2>" in page(comparison, title="t")
    assert not comparison.drifted
    assert drift_sentence(compare(run(VALUES, OLD), run(VALUES, OLD), name="k")) == "none of 1 figures drifted"


def test_every_subject_whose_weights_changed_is_named():
    runs = []
    for one in (run(VALUES, OLD), run(VALUES, NEW)):
        second = one.subjects[0].model_copy(update={"name": "second"})
        runs.append(one.model_copy(update={"subjects": [*one.subjects, second]}))
    assert drift_sentence(compare(*runs, name="k")).endswith(
        "though the weights of planted changed: e0bffdd9 -> 1a2b3c4d and the weights of second changed: e0bffdd9 -> "
        "1a2b3c4d"
    )


def test_where_figures_drifted_the_weights_are_in_the_list_alone():
    comparison = compare(run(VALUES, OLD), run(VALUES + 0.1, NEW), name="k")
    assert drift_sentence(comparison) == "1 of 1 figures drifted"
    assert ("planted: weights hash", OLD, NEW) in [(one.name, one.old, one.new) for one in comparison.environment]


def test_a_hash_is_told_as_far_as_a_reader_compares_it():
    comparison = compare(run(VALUES, OLD), run(VALUES, NEW), name="kept")
    [around] = [lines for heading, lines in drift_list(comparison) if "around" in heading]
    assert around == ["planted: weights hash: e0bffdd9e0bf -> 1a2b3c4d1a2b"]
