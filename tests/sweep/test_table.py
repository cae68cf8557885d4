"""The records of a sweep: rows, curves, roles and changes, of made-up sessions."""

import json

import jsonschema
import pytest

from benchmarks.pages.claims_schema import OF_SWEEPS, schema
from lib.judging.drawings import HeadMap
from lib.judging.measurements import Shown
from lib.sweep.page import page, since
from lib.sweep.plan import Asked
from lib.sweep.records import Sweep
from lib.sweep.results import Outcome
from lib.sweep.table import Ran, part_of, sweep_of
from tests.support.example_session import SCRIPT, all_hold, claim, figure

CURVES = {"Copy score": ["movers/copy-score"]}
MEGABYTE = 1_000_000


def session(name, *, value=0.97, holds=True, heads=((0.9, -0.1), (0.2, 0.3)), n=40):
    """A session of one model with a claim about two heads of a class, one about all, and a map of heads."""
    figures = [
        figure("copying", name, f"copy score of {head}", v, v - 0.02, v + 0.02)
        for head, v in (("1.0", value), ("1.1", value - 0.1))
    ]
    figures = [
        one.model_copy(update={"per_prompt": [one.value + (i - (n - 1) / 2) / n / 100 for i in range(n)], "n": n})
        for one in figures
    ]
    outcome = "passed" if holds else "failed"
    claims = [
        claim(f"test_movers.py::test_every_head_copies[mover {head}-", name, f"{head} copies.", outcome, one)
        for head, one in zip(("1.0", "1.1"), figures, strict=True)
    ]
    claims = [one.model_copy(update={"test": one.test.replace("-[", "-")}) for one in claims]
    control = claim("test_behaviour.py::test_chance", name, f"Control: {SCRIPT}", "passed")
    made = all_hold()
    drawn = HeadMap(title="Attention", unit="share", values=[list(row) for row in heads])
    return made.model_copy(
        update={
            "claims": [*claims, control],
            "subjects": [made.subjects[0].model_copy(update={"name": name, "weights_hash": name, "prompts_hash": "p"})],
            "drawings": [Shown(test=claims[0].test, subject=name, drawing=drawn)],
        }
    )


def ran(step, line="seed 0", **made):
    name = f"{line.replace(' ', '')}@step{step}"
    asked = Asked(name, f"/m/{name}", line, step, None, 1, 0, None, None)
    outcome = Outcome(name=name, source=asked.source, kind="ran", asked={}, started="2026-01-05T10:12:13", seconds=9)
    return Ran(asked, outcome, session(name, **made))


def failed(step):
    one = ran(step)
    outcome = one.outcome.model_copy(update={"kind": "out of memory", "message": f"too large {SCRIPT}"})
    return one._replace(outcome=outcome, session=None)


@pytest.fixture(scope="module")
def sweep():
    runs = [
        ran(1, value=0.3, holds=False),
        ran(10, value=0.5, holds=False, heads=((0.1, -0.1), (0.2, 0.8))),
        ran(100),
        failed(1000),
    ]
    return sweep_of(runs, against="first", curves=CURVES)


def test_rows_are_claims_in_the_reports_order_and_cells_link_to_the_models_own_page(sweep):
    assert [row.heading for row in sweep.rows] == ["Behaviour", "Movers", "Movers"]
    assert sweep.rows[1].claim == "test_movers.py::test_every_head_copies[mover 1.0]"
    cell = sweep.rows[1].cells["seed0@step10"]
    assert cell.standing == "fails"
    assert cell.address == "#seed0%40step10/movers/every_head_copies[mover_1.0]"
    assert cell.figures[0].value == 0.5
    assert "seed0@step1000" not in sweep.rows[1].cells


def test_a_class_is_one_point_with_the_interval_of_its_mean_by_prompt(sweep):
    [curve] = sweep.curves
    assert curve.title == "Copy score: mover"
    points = curve.lines["seed 0"]
    assert [round(point.value, 6) for point in points] == [0.25, 0.45, 0.92]
    assert all(point.low < point.value < point.high < point.low + 0.01 for point in points)


def test_roles_say_who_leads_and_who_does_the_opposite(sweep):
    most, least = sweep.roles
    assert {name: lead.head for name, lead in most.leads.items()} == {
        "seed0@step1": "0.0",
        "seed0@step10": "1.1",
        "seed0@step100": "0.0",
    }
    assert least.leads["seed0@step1"].head == "0.1"


def test_what_changed_between_neighbours_is_paired_by_prompt(sweep):
    assert [(step.old, step.new) for step in sweep.steps] == [
        ("seed0@step1", "seed0@step10"),
        ("seed0@step10", "seed0@step100"),
    ]
    first = sweep.steps[0]
    assert {change.rule for change in first.changes} == {"paired"}
    assert len(first.changes) == first.compared == 2
    assert len(sweep.steps[1].flips) == 2


def test_the_same_figures_are_no_change():
    made = sweep_of([ran(1), ran(10)], against="", curves=CURVES)
    assert made.steps[0].changes == []
    assert made.drift == []


def test_lines_are_not_neighbours():
    assert sweep_of([ran(1), ran(1, "seed 1")], against="", curves=CURVES).steps == []


def test_drift_is_against_the_first_of_its_line_or_a_named_model(sweep):
    assert [(one.old, one.new, one.drifted) for one in sweep.drift] == [
        ("seed0@step1", "seed0@step10", True),
        ("seed0@step1", "seed0@step100", True),
    ]
    named = sweep_of([ran(1, value=0.3, holds=False), ran(2), ran(3)], against="seed0@step3", curves={})
    assert [(one.new, one.drifted) for one in named.drift] == [("seed0@step1", True), ("seed0@step2", False)]


def test_a_class_appears_where_all_its_heads_hold_from_then_on(sweep):
    assert since(sweep) == {"test_movers.py::test_every_head_copies[mover]": {"seed 0": "100"}}
    gone = sweep_of([ran(1), ran(10, holds=False)], against="", curves={})
    assert since(gone) == {}


@pytest.mark.parametrize(
    ("claim", "part"),
    [
        ("f.py::test_a[mover 1.0]", "f.py::test_a[mover]"),
        ("f.py::test_a", "f.py::test_a"),
        ("f.py::t[9.9]", "f.py::t[]"),
    ],
)
def test_heads_of_a_class_belong_together(claim, part):
    assert part_of(claim) == part


def test_the_record_is_what_its_schema_says(sweep):
    written = OF_SWEEPS.read_text(encoding="utf-8")
    assert written == schema(Sweep), "run python -m benchmarks.pages.claims_schema"
    jsonschema.validate(json.loads(sweep.model_dump_json()), json.loads(written))


def test_the_page_shows_everything_and_runs_nothing(sweep):
    text = page(sweep, title="A sweep", written="now")
    assert "<script" not in text
    assert "http" not in text.replace("http-equiv", "")
    for said in ("out of memory: too large &lt;script&gt;", "Copy score: mover", "2 of 2 models drifted", "<svg"):
        assert said in text
    assert 'href="runs/seed0@step10/claims.html#seed0%40step10/movers/every_head_copies[mover_1.0]"' in text


def test_a_hundred_models_and_sixty_claims_fit_three_megabytes():
    made = [ran(10 * step) for step in range(1, 101)]
    rows = [
        one.session.claims[0].model_copy(
            update={
                "test": one.session.claims[0].test.replace("copies", f"copies_what_it_attends_to_{i}"),
                "sentence": f"Head {i} attends where its class does, more than the average other head.",
            }
        )
        for one in made[:1]
        for i in range(60)
    ]
    runs = []
    for one in made:
        name = one.asked.name
        claims = [
            row.model_copy(update={"test": row.test.replace(made[0].asked.name, name), "subject": name}) for row in rows
        ]
        claims = [
            row.model_copy(
                update={
                    "measurements": [f.model_copy(update={"test": row.test, "subject": name}) for f in row.measurements]
                }
            )
            for row in claims
        ]
        runs.append(one._replace(session=one.session.model_copy(update={"claims": claims})))
    made = sweep_of(runs, against="", curves=CURVES)
    made = made.model_copy(update={"curves": made.curves * 10})
    assert len(made.rows) == 60
    assert len(page(made, title="A sweep", written="now").encode()) < 3 * MEGABYTE
