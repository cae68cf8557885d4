"""The summary says what matters, and nothing in it is anything but text."""

from lib.judging.baselines import compare
from lib.reports.markdown_summary import LISTED, render
from tests.support.example_session import SCRIPT, all_hold, claim, example_session, in_float64


def test_each_subject_has_its_verdict_and_a_row_a_claim_that_does_not_hold():
    text = render(example_session())
    assert "**planted**: 1 of 6 claims hold, 2 fail, 1 is inconclusive, 1 could not be run, 1 was skipped." in text
    rows = [line for line in text.splitlines() if line.startswith("| ") and " claim " not in line]
    assert len(rows) == 4
    assert rows[1].startswith("| ✗ fails | Head 10.0 copies the name it attends to. | copy score of 10.0: 0.61 ")
    for part in ("0.55, 0.68", "accepted: at least 0.9", "outside", "Wang et al. 2022, §3.1"):
        assert part in rows[1]


def test_where_all_holds_it_is_one_sentence_a_subject():
    assert render(all_hold()) == "## Circuit claims\n\n**second**: 2 of 2 claims hold.\n\n"


def test_in_float64_it_says_which_precision_was_really_there():
    text = render(in_float64(example_session()))
    assert "1 was skipped.\n\nfloat64: weights as exact as float32 \\(8e\\-08 off\\)" in text


def test_drift_and_an_early_end_are_said():
    old = example_session()
    fewer = old.model_copy(update={"claims": old.claims[1:]})
    text = render(
        fewer.model_copy(update={"drift": compare(old, fewer, name="kept.json"), "ended": "stopped by Ctrl-C"})
    )
    assert "**The run ended early: stopped by Ctrl\\-C.**" in text
    assert "### Against kept.json\n\n1 is in the baseline alone." in text


def test_data_cannot_be_markup():
    text = render(example_session())
    assert SCRIPT not in text
    assert "&lt;script&gt;" in text
    odd = claim("a.py::a", "s|t", "A | B\n# [x](http://y) `z`", "error", reason="| | |")
    text = render(example_session().model_copy(update={"claims": [odd], "subjects": []}))
    assert "| ! could not run | A \\| B \\# \\[x\\]\\(http://y\\) \\`z\\` | \\| \\| \\| |" in text.splitlines()


def test_a_long_list_is_cut_and_says_so():
    claims = [claim(f"a.py::test_{i}", "s", f"Claim {i}.", "error") for i in range(LISTED + 3)]
    text = render(example_session().model_copy(update={"claims": claims}))
    assert text.count("could not run |") == LISTED
    assert "and 3 more" in text
