"""What counts as drift: by each of the three rules something too far is seen, and something near enough is not."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from lib.judging.baselines import ROUNDING, BaselineError, as_baseline, compare, read_session
from lib.judging.measurements import SCHEMA_VERSION, Session, as_json, measurement
from lib.judging.references import Band
from lib.judging.statistics import exact, looks, mean_over_prompts, ratio_of_means, share
from lib.reports.drift_words import drift_list, drift_sentence
from tests.support.example_session import REFERENCES, claim, example_session

TEST = "claims/test_movers.py::test_difference[planted]"
VALUES = np.random.default_rng(0).normal(3.5, 0.2, 100)


def session(estimate, *, subject=(), reference=REFERENCES["difference"], **changes):
    """A run with one claim and one figure; `subject` changes what was under test."""
    figure = measurement(TEST, "planted", "logit difference", estimate, reference)
    under_test = example_session().subjects[0].model_copy(update={"prompts_hash": "one", **dict(subject)})
    claims = [claim("test_movers.py::test_difference", "planted", "It is so.", "passed", figure)]
    kept = {"subjects": [under_test], "claims": claims, "not_measured": [], "drawings": []}
    return example_session().model_copy(update=kept | changes)


def mean(values):
    return mean_over_prompts(torch.as_tensor(values))


def drift(old, new):
    """The one figure's change and the comparison."""
    comparison = compare(old, new, name="kept.json")
    [change] = comparison.changes
    return change, comparison


def test_what_each_prompt_says_has_the_figure_as_its_mean():
    above, below = torch.as_tensor(VALUES), torch.as_tensor(VALUES[::-1].copy()) + 1
    for estimate in (mean(VALUES), ratio_of_means(above, below), share(above > 3.5)):
        assert np.mean(estimate.per_prompt) == pytest.approx(estimate.value, rel=1e-12)
        assert len(estimate.per_prompt) == 100
    assert exact(3.0).per_prompt == ()


def test_the_spread_of_a_ratios_prompts_is_that_of_its_interval():
    numerators = torch.as_tensor(VALUES)
    denominators = numerators + torch.as_tensor(np.random.default_rng(1).normal(1, 0.1, 100))
    estimate = ratio_of_means(numerators, denominators)
    error = np.std(estimate.per_prompt, ddof=1) / 10
    assert (estimate.high - estimate.low) / 2 == pytest.approx(1.96 * error, rel=0.1)


@pytest.mark.parametrize("dtype", ROUNDING)
def test_the_same_run_may_differ_by_rounding_alone(dtype):
    old = session(mean(VALUES), subject={"dtype": dtype})
    size = ROUNDING[dtype] * (1 + VALUES.max())
    digits = 1e-5  # values are kept with six digits
    for difference, drifted in ((0.5 * size, False), (2 * size + 2 * digits, True)):
        moved = VALUES.copy()
        moved[VALUES.argmax()] += difference
        if drifted or size > 2 * digits:
            change, _ = drift(old, session(mean(moved), subject={"dtype": dtype}))
            assert (change.rule, change.drifted) == ("rounding", drifted)


def test_two_prompts_that_moved_apart_are_drift_though_the_mean_stayed():
    moved = VALUES + np.array([0.01, -0.01] * 50)
    change, comparison = drift(session(mean(VALUES)), session(mean(moved)))
    assert abs(change.new - change.old) < 1e-9
    assert change.drifted
    assert comparison.drifted
    assert change.test == TEST


@pytest.mark.parametrize(
    ("low", "high", "label"),
    [
        (3.5, 3.5, "logit difference, upper end of its interval"),  # an interval that was made a point
        (3.40, 3.543, "logit difference, lower end of its interval"),
    ],
)
def test_an_interval_that_is_made_otherwise_is_drift_though_no_prompt_moved(low, high, label):
    estimate = mean(VALUES)
    change, comparison = drift(session(estimate), session(replace(estimate, low=low, high=high)))
    assert (change.drifted, change.label, change.rule) == (True, label, "rounding")
    assert "1 of 1 figures drifted" in drift_sentence(comparison)
    [(heading, [line]), *_] = drift_list(comparison)
    assert heading == "Drifted"
    assert "that moved most" not in line


def test_intervals_of_other_looks_are_not_compared():
    with looks(2):
        wider = mean(VALUES)
    change, _ = drift(session(mean(VALUES), looks=[100]), session(wider, looks=[25, 100]))
    assert not change.drifted


def test_another_kind_of_interval_is_named():
    estimate = mean(VALUES)
    _, comparison = drift(session(replace(estimate, method="guess")), session(estimate))
    assert ("intervals", "guess", estimate.method) in [(one.name, one.old, one.new) for one in comparison.environment]


def test_what_a_stopped_run_left_open_is_not_compared():
    old, new = session(mean(VALUES)), session(mean(VALUES[:25] + 1))
    new = new.model_copy(update={"claims": [new.claims[0].model_copy(update={"outcome": "inconclusive"})]})
    assert compare(old, new, name="kept").flips  # where the run went to its end, nothing has decided it
    stopped = compare(old, new.model_copy(update={"ended": "stopped by Ctrl-C"}), name="kept")
    assert not stopped.drifted
    assert stopped.changes == []


def test_other_weights_on_the_same_prompts_are_paired():
    rng, old = np.random.default_rng(2), session(mean(VALUES))
    other = {"weights_hash": "other"}
    noise = rng.normal(0, 0.01, 100)
    change, _ = drift(old, session(mean(VALUES + noise - noise.mean() / 2), subject=other))
    assert (change.rule, change.drifted) == ("paired", False)
    change, _ = drift(old, session(mean(VALUES + noise + 0.01), subject=other))
    assert (change.rule, change.drifted) == ("paired", True)
    assert change.allowed < 0.01 < old.claims[0].measurements[0].high - old.claims[0].measurements[0].value


@pytest.mark.parametrize(
    "changed", [{"dtype": "bfloat16"}, {"prepend_bos": True}, {"processing": "none"}, {"weights_hash": "other"}]
)
def test_whatever_changes_the_run_takes_it_out_of_the_rounding_rule(changed):
    change, _ = drift(session(mean(VALUES)), session(mean(VALUES), subject=changed))
    assert (change.rule, change.drifted) == ("paired", False)


@pytest.mark.parametrize("changed", [{"prompts_hash": "two"}, {"seed": 1}])
def test_other_prompts_are_judged_by_the_two_intervals(changed):
    rng = np.random.default_rng(3)
    for shift, drifted in ((0.0, False), (0.2, True)):
        change, _ = drift(session(mean(VALUES)), session(mean(rng.normal(3.5 + shift, 0.2, 100)), subject=changed))
        assert (change.rule, change.drifted) == ("unpaired", drifted)


def test_a_share_of_all_prompts_is_not_drift_for_one_miss():
    hits = torch.ones(100, dtype=torch.bool)
    missed = hits.clone()
    missed[0] = False
    change, _ = drift(session(share(hits)), session(share(missed), subject={"seed": 1}))
    assert not change.drifted
    change, _ = drift(session(share(hits)), session(share(missed)))
    assert change.drifted  # the same run: no prompt may come out differently


def test_many_figures_share_one_rate_of_false_alarms():
    rng = np.random.default_rng(4)

    def run(seed):
        figures = [
            measurement(TEST, "planted", f"figure {i}", mean(rng.normal(3.5, 0.2, 100)), REFERENCES["difference"])
            for i in range(150)
        ]
        one = session(mean(VALUES), subject={"seed": seed})
        return one.model_copy(update={"claims": [one.claims[0].model_copy(update={"measurements": figures})]})

    comparison = compare(run(0), run(1), name="kept.json")
    assert len(comparison.changes) == 150
    assert not comparison.drifted


def test_what_was_computed_is_held_to_rounding_and_not_compared_on_other_prompts():
    old = session(exact(3.5))
    assert drift(old, session(exact(3.6)))[0].drifted
    assert not drift(old, session(exact(3.5001)))[0].drifted
    change, comparison = drift(old, session(exact(3.6), subject={"seed": 1}))
    assert (change.rule, change.drifted) == ("not comparable", False)
    assert "1 figures were computed, not sampled, on other prompts" in comparison.notes[0]


def test_what_rounding_itself_does_is_judged_by_its_band_and_never_by_a_kept_value():
    rounding = REFERENCES["difference"].model_copy(update={"rounding": True})
    old = session(exact(0.0424), reference=rounding)
    change, comparison = drift(old, session(exact(0.0656), reference=rounding))
    assert (change.rule, change.drifted, comparison.drifted, comparison.compared) == ("band alone", False, False, [])
    assert drift_sentence(comparison) == "none of 0 figures drifted"
    assert comparison.notes == [
        "1 figures are what rounding itself does: their bands judge them, and they were not compared"
    ]
    left = session(exact(0.0656), reference=rounding)
    failed = left.claims[0].model_copy(update={"outcome": "failed"})
    assert compare(old, left.model_copy(update={"claims": [failed]}), name="k").drifted
    before = session(exact(0.0424))  # kept before the record said so, or by somebody who says otherwise
    assert drift(before, session(exact(0.0656), reference=rounding))[0].rule == "band alone"


def test_a_run_kept_before_the_record_said_what_is_rounding_is_read(tmp_path):
    run = session(mean(VALUES))
    old = json.loads(as_json(run.model_copy(update={"schema_version": 2})))
    del old["claims"][0]["measurements"][0]["published"]["rounding"]
    (tmp_path / "kept.json").write_text(json.dumps(old), encoding="utf-8")
    assert not drift(read_session(tmp_path / "kept.json"), run)[1].drifted


def test_a_claim_that_comes_out_differently_is_drift_though_no_figure_moved():
    old = session(mean(VALUES))
    failed = old.claims[0].model_copy(update={"outcome": "failed"})
    comparison = compare(old, old.model_copy(update={"claims": [failed]}), name="kept.json")
    assert comparison.drifted
    assert [(flip.old, flip.new) for flip in comparison.flips] == [("holds", "fails")]


def test_claims_and_figures_that_appear_or_vanish_are_drift():
    old = session(mean(VALUES))
    more = old.model_copy(update={"claims": [*old.claims, claim("test_new.py::test_n", "planted", "N.", "passed")]})
    assert compare(old, more, name="k").appeared == ["claims/test_new.py::test_n[planted]"]
    assert compare(more, old, name="k").vanished == ["claims/test_new.py::test_n[planted]"]
    silent = old.model_copy(update={"claims": [old.claims[0].model_copy(update={"measurements": []})]})
    assert compare(old, silent, name="k").vanished == [f"{TEST}: logit difference"]
    assert compare(old, silent, name="k").drifted


def test_a_selection_is_compared_with_what_it_ran_alone():
    old = session(mean(VALUES))
    more = old.model_copy(update={"claims": [*old.claims, claim("test_new.py::test_n", "planted", "N.", "passed")]})
    for part in ({"selection": "-k difference"}, {"ended": "stopped by Ctrl-C"}):
        comparison = compare(more, old.model_copy(update=part), name="k")
        assert not comparison.drifted
        assert any("-k difference" in note or "Ctrl-C" in note for note in comparison.notes)
    assert compare(old, more.model_copy(update={"selection": "-k x"}), name="k").appeared  # the baseline had everything
    assert not compare(old.model_copy(update={"selection": "-k x"}), more, name="k").drifted
    same = {"selection": "-m gpu"}
    assert compare(more.model_copy(update=same), old.model_copy(update=same), name="k").vanished


def test_a_run_that_shares_nothing_with_its_baseline_does_not_pass():
    old = session(mean(VALUES), selection="-k x")
    other = old.claims[0].model_copy(update={"test": "claims/b.py::b[second]", "subject": "second", "measurements": []})
    comparison = compare(old, old.model_copy(update={"claims": [other], "selection": ""}), name="k")
    assert comparison.drifted
    assert "second is in this run alone" in comparison.notes


def test_what_was_different_around_it_is_told_and_is_no_drift():
    old = session(mean(VALUES))
    edited = REFERENCES["difference"].model_copy(update={"accept": Band(above=3.0)})
    new = session(
        mean(VALUES), subject={"device": "cuda:0"}, reference=edited, versions={**old.versions, "torch": "2.14.0"}
    )
    comparison = compare(old, new, name="kept.json")
    assert [(one.name, one.old, one.new) for one in comparison.environment] == [
        ("torch", "2.13.0", "2.14.0"),
        ("planted: device", "cpu", "cuda:0"),
        ("accepted band of behaviour/logit-difference", "3.3 to 3.8", "at least 3"),
    ]
    assert not comparison.drifted


def test_a_kept_run_is_read_as_it_was_but_for_its_figures(tmp_path):
    run = session(mean(VALUES), drawings=example_session().drawings)
    (tmp_path / "kept.json").write_text(as_json(as_baseline(run)), encoding="utf-8")
    assert read_session(tmp_path / "kept.json") == run.model_copy(update={"drawings": []})


def test_lists_of_numbers_are_kept_on_one_line_and_nothing_else_changes():
    run = session(mean(VALUES), command='pytest -k "[1,\n 2]"', drawings=example_session().drawings)
    text = as_json(run)
    assert Session.model_validate_json(text) == run
    assert len(text.splitlines()) < 400  # of some thousand numbers
    assert json.loads(text) == json.loads(run.model_dump_json())


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "is not a claims.json of this suite"),
        ("[]", "is not a claims.json of this suite"),
        ('{"benchmarks": [], "version": "5.1.0"}', "is not a claims.json of this suite"),
        ("\x00", "is not a claims.json of this suite"),
        (f'{{"schema_version": {SCHEMA_VERSION + 1}, "new": 1}}', "written by a newer version"),
        (as_json(example_session().model_copy(update={"schema_version": SCHEMA_VERSION + 1})), "newer version"),
        (as_json(example_session().model_copy(update={"schema_version": 1})), "has schema 1"),
    ],
)
def test_what_is_no_baseline_is_refused_with_its_name_and_a_remedy(text, says, tmp_path):
    file = tmp_path / "kept.json"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(BaselineError, match=says) as refusal:
        read_session(file)
    assert str(file) in str(refusal.value)
    assert "another file" in str(refusal.value)


def test_a_folder_is_no_baseline(tmp_path):
    with pytest.raises(BaselineError, match="cannot be read"):
        read_session(tmp_path)
