"""`make machines` says what has too little room, what drifted and what a processor ignores."""

import json
import re

import pytest

from benchmarks.pages import evidence
from benchmarks.pages.machines import AS_IT_IS, Setting, probe_of
from benchmarks.pages.machines_page import Deviation, Outcome, deviations, failed, moved, problems, write
from lib.judging.baselines import ROUNDING
from lib.judging.references import Band
from lib.judging.statistics import exact
from tests.judging.test_baselines import TEST, VALUES, claim, mean, measurement, session
from tests.support.example_session import REFERENCES
from tests.support.rounding import DEVIATION

ROUNDED = REFERENCES["control"].model_copy(
    update={"id": "instruments/logits", "accept": Band(below=1e-4), "rounding": True}
)


def outcome(planted, *, tests=(), failures=()):
    return Outcome(dict(tests), list(failures), planted, planted)


def with_rounding(value):
    """A run of a figure held to rounding, and of one that is rounding itself."""
    one = session(mean(VALUES))
    figure = measurement(TEST, "planted", "logits less those of transformers", exact(value), ROUNDED)
    return one.model_copy(
        update={"claims": [*one.claims, claim("test_instruments.py::test_l", "planted", "L.", "passed", figure)]}
    )


def test_deviations_and_failures_are_read_from_a_report_of_tests(tmp_path):
    given = [[1e-9, 1e-8], [0.0, 1e-12], [4e-9, 1e-8]]
    properties = "".join(f'<property name="{DEVIATION}" value="{json.dumps(one)}"/>' for one in given)
    (tmp_path / "tests.xml").write_text(
        f'<testsuites><testsuite><testcase classname="tests.test_a" name="one"><properties>{properties}</properties>'
        '</testcase><testcase classname="tests.test_a" name="two"><failure/></testcase></testsuite></testsuites>'
    )
    assert deviations(tmp_path / "tests.xml") == {"test_a": Deviation(4e-9, 1e-8)}
    assert failed(tmp_path / "tests.xml") == ["two"]


def test_where_all_is_well_there_is_nothing_to_say():
    kept = with_rounding(1e-5)
    assert problems({"x": outcome(with_rounding(1.9e-5), tests={"test_a": Deviation(1e-9, 1e-8)})}, kept) == []


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (outcome(with_rounding(1e-5), failures=["test_two"]), "x: test_two failed"),
        (outcome(with_rounding(1e-5), tests={"test_a": Deviation(2.5e-9, 1e-8)}), "x: tests, test_a: .* 4 times room"),
        (outcome(with_rounding(2.5e-5)), "x: bands, instruments/logits: 2.5e-05 of 0.0001, 4 times room"),
        (outcome(session(mean(VALUES + 3e-4))), "x: drift, test_movers.py: .*, 1.2 times room"),
        (outcome(session(mean(VALUES + 1e-2))), "x: logit difference drifted by 0.01"),
    ],
)
def test_what_must_not_be_is_said(found, says):
    [*lines] = problems({"x": found}, with_rounding(1e-5))
    assert any(line.startswith("x: ") and re.fullmatch(says, line) for line in lines), lines


def test_how_far_rounding_moves_a_number_is_measured_between_settings():
    share, label = moved({"one": session(mean(VALUES)), "other": session(mean(VALUES + 1e-4))})
    assert label == "logit difference"
    assert share == pytest.approx(1e-4 / (1 + VALUES.max()), rel=0.1)


def test_the_page_names_settings_families_types_and_what_is_wrong(tmp_path, monkeypatch):
    monkeypatch.setattr(evidence, "FOLDER", tmp_path)
    kept = with_rounding(1e-5)
    tried = {"nothing set": outcome(kept), "older": outcome(with_rounding(2.5e-5), tests={"t": Deviation(0.0, 1.0)})}
    wrong = write(tried, ["newer"], ["slower"], kept, {}, {"a" * 64, "b" * 64})
    page = (tmp_path / "MACHINES.md").read_text(encoding="utf-8")
    assert "Tried: 2 settings" in page
    assert "newer" in page
    assert "Not tried for want of time: slower." in page
    assert "| `older` | 0 | 0 | 0 | 0 | 4 | bands, instruments/logits |" in page
    assert f"| {ROUNDING['float32']:.2g} |" in page
    assert len(wrong) == 2
    assert all(f"- {line}" in page for line in wrong)


def test_a_setting_that_changes_something_is_told_from_one_that_does_not(tmp_path, monkeypatch):
    monkeypatch.setattr("benchmarks.pages.machines.FOLDER", tmp_path)
    plain = probe_of(AS_IT_IS, build=False)
    assert probe_of(Setting("no such variable", {"NO_SUCH_VARIABLE": "1"}), build=False) == plain
    other = probe_of(Setting("another hash", {"PYTHONHASHSEED": "1"}), build=False)
    assert {name for name in plain if plain[name] != other[name]} == {"hash"}
