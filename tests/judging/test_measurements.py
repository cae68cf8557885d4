"""Records keep what was measured, field by field, and their file is laid out to be read."""

import json
from dataclasses import replace

import pytest

from lib.judging.measurements import SCHEMA_VERSION, Session, as_json, measurement
from lib.judging.references import Band, Reference
from lib.judging.statistics import Estimate
from tests.support.example_session import example_session

REFERENCE = Reference(
    id="movers/copy-score",
    says="above 95%",
    source="somebody, §3.1",
    how="top 5",
    accept=Band(above=0.9, below=0.99),
    why="as published",
    value=(0.95, 0.97),
)


def test_a_measurement_keeps_the_estimate_and_what_it_was_judged_by():
    estimate = Estimate(0.95, 0.92, 0.97, 30, "bootstrap", per_prompt=(1 / 3, 1e-9 / 7, -2.0))
    one = measurement("a.py::t[s]", "s", "copy score", estimate, REFERENCE, worst_prompt="Then John gave")
    assert (one.test, one.subject, one.label) == ("a.py::t[s]", "s", "copy score")
    assert (one.value, one.low, one.high, one.n, one.method) == (0.95, 0.92, 0.97, 30, "bootstrap")
    assert one.published.model_dump() == REFERENCE.model_dump()
    assert one.verdict == REFERENCE.accept.judge(estimate) == "pass"
    assert one.explanation == REFERENCE.explain(estimate)
    assert one.worst_prompt == "Then John gave"
    assert one.per_prompt == [0.333333, 1.42857e-10, -2.0]  # six significant digits
    assert measurement("a", "s", "c", estimate, REFERENCE).worst_prompt == ""
    open_one = replace(estimate, low=0.88)
    limited = measurement("a", "s", "c", open_one, REFERENCE, available=31).explanation
    assert limited == REFERENCE.explain(open_one, available=31) != REFERENCE.explain(open_one)


@pytest.mark.parametrize(("low", "high", "room"), [(0.92, 0.98, 0.01), (0.91, 0.96, 0.01), (0.85, 0.95, -0.05)])
def test_room_is_the_distance_to_the_nearer_end_of_the_band(low, high, room):
    estimate = Estimate(0.95, low, high, 30, "bootstrap")
    assert measurement("a", "s", "c", estimate, REFERENCE).room == pytest.approx(room)


def test_a_band_open_on_one_side_leaves_all_the_room_there():
    open_above = REFERENCE.model_copy(update={"accept": Band(above=0.9)})
    assert measurement("a", "s", "c", Estimate(5, 5, 5, 1, "exact"), open_above).room == pytest.approx(4.1)


def test_the_file_is_the_session_with_each_list_of_numbers_on_one_line():
    session = example_session()
    text = as_json(session)
    assert Session.model_validate_json(text) == session
    assert text.startswith(f'{{\n "schema_version": {SCHEMA_VERSION},\n')  # indented by one
    assert text.endswith("}\n")
    assert not text.endswith("\n\n")
    rows = session.drawings[0].drawing.values
    assert f"[{','.join(map(json.dumps, rows[0]))}]" in text  # a row of numbers stands on a line
    assert '"not_measured": [\n  "third-model' in text  # text does not
