import io
import re

from rich.console import Console

from lib.judging.baselines import compare
from lib.judging.measurements import Session
from lib.reports.terminal import render
from tests.support.example_session import PRECISION, all_hold, claim, example_session, figure, in_float64


def rendered(session, width=80, colour=False, **options):
    file = io.StringIO()
    colours = {"force_terminal": colour, "color_system": "truecolor" if colour else None}
    render(session, Console(file=file, width=width, highlight=False, **colours), **options)
    return file.getvalue()


def test_each_subject_opens_with_its_verdict():
    text = rendered(example_session(), width=120)
    assert "planted: 1 of 6 claims hold, 2 fail, 1 is inconclusive, 1 could not be run, 1 was skipped" in text
    assert "second: 2 of 2 claims hold" in text


def test_in_float64_it_says_which_precision_was_really_there():
    text = rendered(in_float64(example_session()), width=120)
    assert f"1 was skipped\nfloat64: {PRECISION}\n" in text
    assert text.count("as exact as") == 2
    assert "as exact as" not in rendered(example_session())


def test_what_does_not_hold_comes_first_and_is_explained():
    text = rendered(example_session(), width=200)
    places = [
        text.index("! Text such as"),
        text.index("✗ Head 10.0 copies the name it attends to. (fails)"),
        text.index("measured 0.61 [0.55, 0.68] (N = 100); accepted: at least 0.9; published: 'above 95%'"),
        text.index("? The answer beats the repeated name by about 3.56 logits. (inconclusive)"),
        text.index("use about 62 more prompts"),
        text.index("test_behaviour.py  0 of 1"),
    ]
    assert places == sorted(places)


def test_a_claim_that_does_not_hold_is_one_paragraph_with_its_numbers_and_source():
    lines = rendered(example_session(), width=400).splitlines()
    [row] = [line for line in lines if line.startswith("✗ Head 10.0 ")]
    for part in ("copy score of 10.0", "0.61 [0.55, 0.68]", "at least 0.9", "above 95%", "Wang et al. 2022, §3.1"):
        assert row.count(part) == 1
    assert sum("copy score of 10.0" in line for line in lines) == 1
    assert not any("copy score of 9.9" in line for line in lines)  # it holds


def test_drift_and_an_early_end_are_said():
    old = example_session()
    fewer = old.model_copy(update={"claims": old.claims[1:], "ended": "stopped by Ctrl-C"})
    drift = compare(old, old.model_copy(update={"claims": old.claims[1:]}), name="kept.json")
    text = rendered(fewer.model_copy(update={"drift": drift}), width=120)
    assert "The run ended early: stopped by Ctrl-C" in text
    assert "Against kept.json: 1 is in the baseline alone\nIn the baseline alone:\n  claims/test_movers.py::" in text
    assert "Against" not in rendered(old)


def test_where_all_claims_hold_it_stays_short():
    text = rendered(all_hold())
    assert len(text.strip().splitlines()) == 5  # verdict, blank, header, one line for each of two files
    assert "copy score" not in text


def test_eighty_columns_are_enough_and_nothing_is_cut():
    text = rendered(example_session())
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    assert "<behaviour/logit-difference>" in text


def test_colour_adds_nothing_but_colour():
    plain, coloured = rendered(example_session()), rendered(example_session(), colour=True)
    assert "\x1b" not in plain
    assert "\x1b" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == plain


def test_what_was_not_measured_is_said():
    assert "Not measured:\n  third-model: its weights are not on this machine." in rendered(example_session())
    assert "Not measured" not in rendered(all_hold())


def test_what_went_otherwise_than_planned_is_said():
    assert "Notes:\n  out of GPU memory: going on with 12 prompts at once" in rendered(example_session())
    assert "Notes" not in rendered(all_hold())


def test_brackets_are_text_not_markup():
    odd = claim("a.py::test_a", "x[y]", "Heads [red] and [9.9] copy.", "failed", reason="assert [1] == [bold]")
    text = rendered(example_session().model_copy(update={"claims": [odd]}))
    for part in ("x[y]: 0 of 1", "Heads [red] and [9.9] copy.", "assert [1] == [bold]"):
        assert part in text


def test_a_figure_of_a_claim_that_holds_is_not_listed_as_a_fault():
    control = claim("a.py::a", "s", "A.", "passed", figure("copying", "s", "control", 0.5, 0.4, 0.6))
    assert "control" not in rendered(example_session().model_copy(update={"claims": [control]}))


def test_a_file_that_could_not_be_loaded_is_reported_without_a_subject():
    broken = claim("test_b.py", "", "test_b.py can be loaded.", "error", reason="No module named 'x'")
    text = rendered(example_session().model_copy(update={"claims": [broken]}))
    assert "no subject: 0 of 1 claim holds, 1 could not be run" in text
    assert "No module named 'x'" in text


def test_a_session_renders_the_same_after_a_trip_through_json():
    session = example_session()
    assert rendered(Session.model_validate_json(session.model_dump_json(indent=1))) == rendered(session)
