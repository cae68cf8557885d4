"""What one minute with the page tells: what the claims are about, of what, whether they held, and where to look."""

from io import StringIO

import pytest
from rich.console import Console

from lib.judging.measurements import PromptFile, StatedCircuit
from lib.judging.verdicts import verdict_sentence
from lib.one_line import counted
from lib.reports import html_report, terminal
from lib.reports.markdown_summary import render
from tests.reports.test_html_report import Page, text_of
from tests.support.example_session import HASH, SCRIPT, all_hold, example_session


@pytest.fixture
def session():
    return example_session()


def in_terminal(session):
    console = Console(file=StringIO(), width=200)
    terminal.render(session, console)
    return console.file.getvalue()


def links(session):
    return {values["href"] for tag, values in Page(html_report.page(session)).tags if tag == "a"}


def with_subject(session, **changed):
    first, *others = session.subjects
    return session.model_copy(update={"subjects": [first.model_copy(update=changed), *others]})


def with_claims(session, *claims):
    return session.model_copy(update={"claims": list(claims), "drawings": []})


def test_it_begins_with_the_task_and_what_the_model_is(session):
    text = text_of(with_subject(session, about="weights that were constructed"))
    assert text.index("Answering, as Wang et al. 2022 describe it.") < text.index("planted : 1 of 6 claims hold")
    assert "planted: weights that were constructed." in text
    assert "https://example.org/wang" in links(session)


def test_controls_are_counted_apart():
    first, second = all_hold().claims
    control = second.model_copy(
        update={"sentence": "Control: nothing else copies.", "test": "claims/test_a.py::test_b"}
    )
    assert verdict_sentence([first, control]) == "1 of 1 claim holds; 1 of 1 control holds"
    failing = control.model_copy(update={"outcome": "error"})
    assert verdict_sentence([first, second, control, failing]) == (
        "2 of 2 claims hold; 1 of 2 controls hold, 1 could not be run"
    )
    assert verdict_sentence([control]) == "1 of 1 control holds"


def test_a_part_of_the_claims_is_not_taken_for_all_of_them(session):
    told = text_of(session.model_copy(update={"selection": "-k 9.9"}))
    assert told.index("Only a part was asked: -k 9.9 left out all other claims.") < told.index("planted : 1 of 6")
    assert "Only a part was asked: -k 9.9" in in_terminal(session.model_copy(update={"selection": "-k 9.9"}))
    assert "Only a part was asked: \\-k 9.9" in render(session.model_copy(update={"selection": "-k 9.9"}))
    for whole in ("", "-m gpu"):
        assert "Only a part" not in text_of(session.model_copy(update={"selection": whole}))


def test_what_does_not_hold_comes_family_by_family_and_one_reason_is_told_once(session):
    [copies] = [claim for claim in session.claims if claim.test.endswith("test_copies_too[planted]")]
    [difference] = [claim for claim in session.claims if claim.test.endswith("test_difference[planted]")]
    failed = {"outcome": "failed", "measurements": []}
    behaviour = difference.model_copy(update={**failed, "reason": "a number is off"})
    untrained = [
        copies.model_copy(update={**failed, "test": f"claims/test_movers.py::test_{i}[planted]", "reason": "untrained"})
        for i in range(14)
    ]
    text = text_of(with_claims(session, *untrained, behaviour))
    assert "fails , 14 for one reason: untrained" in text
    assert text.index("14 for one reason") < text.index("fails : The answer beats the repeated name")
    others = [claim.model_copy(update={"reason": f"reason {i}"}) for i, claim in enumerate(untrained)]
    page = with_claims(session, *others, behaviour)
    assert text_of(page).index("The answer beats") < text_of(page).index("Head 10.0 copies")
    assert "and 5 more" in text_of(page)
    assert "#planted/movers/9" in links(page)


def test_a_claim_has_the_same_address_on_every_page_and_a_line_that_asks_it_again(session):
    one, *_ = [claim for claim in session.claims if claim.test == "claims/test_movers.py::test_copies[planted]"]
    for page in (session, with_claims(session, one)):
        assert "#planted/movers/copies" in links(page)
        assert "pytest 'claims/test_movers.py::test_copies[planted]' --claims-seed 3" in text_of(page)
    odd = one.model_copy(update={"test": "claims/test_movers.py::test_copies[planted-all heads, 5% of A/B]"})
    assert html_report.address(odd) == "planted/movers/copies[all_heads,_5%_of_A/B]"
    assert html_report.link_to(odd) == "#planted/movers/copies[all_heads,_5%25_of_A/B]"
    ids = [values["id"] for _, values in Page(html_report.page(session)).tags if "id" in values]
    assert len(ids) == len(set(ids))


def test_words_are_linked_where_they_are_said_first_and_told_as_text(session):
    assert "#word-copies" in links(session)
    assert f"copies writes what it attends to {SCRIPT}" in text_of(session)
    said = html_report.with_words("S2 and S2 <b> in resid_pre, not S22 or x-S2", {"S2": "", "resid_pre": ""})
    assert said == (
        '<a class="word" href="#word-S2">S2</a> and S2 &lt;b&gt; in '
        '<a class="word" href="#word-resid_pre">resid_pre</a>, not S22 or x-S2'
    )


def test_the_files_that_were_asked_with_are_named_with_their_hashes(session):
    prompts = PromptFile(name="mine.csv", sha256=HASH, rows=10_000, used=100)
    circuit = StatedCircuit(name="c.toml", sha256=HASH, model="a model", classes={"name mover": "2.1 2.4 at END"})
    text = text_of(with_subject(session, prompt_file=prompts, circuit_file=circuit))
    assert "mine.csv , 100 of 10,000 rows, sha256 5f3c0a9be1d2" in text
    assert "c.toml , sha256 5f3c0a9be1d2 , of a model name mover 2.1 2.4 at END" in text
    assert "Prompt file" not in text_of(session)


def test_what_a_circuit_file_says_is_stated_and_a_wrong_claim_says_what_there_is_instead(session):
    [fails] = [claim for claim in session.claims if claim.test.endswith("test_copies_too[planted]")]
    figure = fails.measurements[0]
    published = figure.published.model_copy(update={"source": "the circuit file", "says": "it attends to IO"})
    wrong = fails.model_copy(
        update={
            "instead": "10.0 attends from END to S2 with 0.71",
            "measurements": [figure.model_copy(update={"published": published})],
        }
    )
    text = text_of(with_claims(session, wrong))
    assert "stated it attends to IO" in text
    assert "published it attends to IO" not in text
    assert ". Instead: 10.0 attends from END to S2 with 0.71" in text


def test_one_thing_is_not_many():
    assert (counted(1, "head"), counted(12, "head"), counted(1000, "row")) == ("1 head", "12 heads", "1,000 rows")
