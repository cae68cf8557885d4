"""The page says what the records say, in the order a reader needs, and takes none of their text for markup."""

import os
import re
from html.parser import HTMLParser

import pytest

from ioi_fixtures.published import FOLDER
from ioi_fixtures.pytest_fixtures.outline import ADDRESSES, HEADINGS
from lib.judging.baselines import compare
from lib.judging.measurements import Session
from lib.judging.references import read_references
from lib.reports import html_report
from lib.reports.html_report import STRIP_WIDTH, linked, strip
from tests.support.example_session import HASH, PRECISION, SCRIPT, all_hold, claim, example_session, figure, in_float64
from tests.support.places import ROOT
from tests.support.warm_process import run_module

VOID = {"img", "br", "meta", "input"}
MOST_BYTES = 8_000_000


class Page(HTMLParser):
    """Tags and text of a page but its scripts and styles; fails where tags do not close."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.open, self.words = [], [], []
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("script", "style"):
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


@pytest.fixture
def session():
    return example_session()


def text_of(session):
    return Page(html_report.page(session)).text


def section(session, id):
    """The text of one claim, opened."""
    html = html_report.page(session)
    start = html.index(f'id="{id}"')
    found = html[html.rindex("<details", 0, start) : html.index("</details>", start) + len("</details>")]
    return Page(found).text


def test_the_title_names_the_subjects(session):
    assert "<title>Circuit claims: planted, second</title>" in html_report.page(session)
    nothing = session.model_copy(update={"subjects": [], "claims": [], "drawings": []})
    assert "nothing was measured" in text_of(nothing)
    assert "No claim was run." in text_of(nothing)


def test_the_page_reads_top_down_from_verdict_to_claims(session):
    text = text_of(session)
    parts = [
        "planted : 1 of 6 claims hold, 2 fail, 1 is inconclusive, 1 could not be run, 1 was skipped.",
        "✗ fails : Head 10.0 copies the name it attends to.",
        "second : 2 of 2 claims hold.",
        "Not measured in this run third-model: its weights are not on this machine. To measure it: pytest claims",
        "Claims by family",
        "Changed since the baseline",
        "What was under test",
        "How to read a verdict",
        "Behaviour 1 of 2 claims hold, 1 is inconclusive",
        "Movers 2 of 3 claims hold, 1 fails",
        "test_canaries.py 0 of 1 claim holds, 1 fails",
    ]
    places = [text.index(part) for part in parts]
    assert places == sorted(places)


def test_what_changed_since_the_baseline_is_text_at_the_top(session):
    assert "This run was not compared with an earlier one." in text_of(session)
    earlier = session.model_copy(update={"claims": session.claims[1:]})
    compared = session.model_copy(update={"drift": compare(earlier, session, name=SCRIPT)})
    text = text_of(compared)
    assert "was not compared" not in text
    assert f"Compared with {SCRIPT}" in text
    assert text.index("Against the baseline") < text.index("What was under test")
    stopped = session.model_copy(update={"ended": f"stopped by {SCRIPT}"})
    assert f"! This run ended early: stopped by {SCRIPT}." in text_of(stopped)


def test_families_come_in_the_order_of_the_session_and_none_is_lost(session):
    names = [family.heading for family in html_report.families(session)]
    assert names == ["Behaviour", "Movers", "test_canaries.py", "test_weights.py"]
    turned = session.model_copy(update={"families": dict(reversed(session.families.items()))})
    assert [family.heading for family in html_report.families(turned)][:2] == ["Movers", "Behaviour"]
    assert sum(len(family.claims) for family in html_report.families(session)) == len(session.claims)


def test_every_file_of_claims_has_a_heading():
    assert {path.name for path in (ROOT / "claims").glob("test_*.py")} <= set(HEADINGS)


def test_what_was_under_test_is_complete(session):
    found = Page(html_report.page(session))
    for fact in ("models/planted", "12 layers, 12 heads", "cpu, float32", "N = 100, seed 0", "torch 2.13.0", "75 s"):
        assert fact in found.text
    assert session.command in found.text
    assert session.started in found.text
    assert HASH not in found.text
    assert [values["title"] for tag, values in found.tags if tag == "code" and "title" in values] == [HASH, HASH]


def test_in_float64_it_says_which_precision_was_really_there(session):
    assert f"cpu, float64: {PRECISION}" in text_of(in_float64(session))


def test_a_failure_explains_itself_and_says_how_it_was_measured(session):
    text = section(session, "planted/movers/copies_too")
    assert "Fails. copy score of 10.0: measured 0.61 [0.55, 0.68] (N = 100); accepted: at least" in text
    assert "because: a replication prints 94.5% for two of the three heads" in text
    assert "measured there as: answer in the top 5 logits" in text
    assert text.index("✗ outside copy score of 10.0") < text.index("✓ inside copy score of the average head")
    assert "and 1 more" in text


def test_an_inconclusive_claim_names_its_worst_prompt_and_shows_its_drawings(session):
    text = section(session, "planted/behaviour/difference")
    assert "? inconclusive" in text
    assert f"worst prompt Then {SCRIPT} gave" in text
    html = html_report.page(session)
    labels = [values["aria-label"] for tag, values in Page(html).tags if values.get("class") == "drawing"]
    assert [label.split(":")[0] for label in labels][:2] == [f"Attention {SCRIPT}", "Scatter"]
    assert len(labels) == len(session.drawings) - 1  # the table is no drawing


def test_a_claim_that_could_not_run_says_why(session):
    assert f"Could not run. {SCRIPT}" in section(session, "planted/weights/text")


def test_a_drawing_that_several_claims_show_is_in_the_page_once(session):
    again = session.drawings[0].model_copy(update={"test": "claims/test_movers.py::test_copies_too[planted]"})
    both = session.model_copy(update={"drawings": [session.drawings[0], again]})
    places = [values["data-drawing"] for _, values in Page(html_report.page(both)).tags if "data-drawing" in values]
    assert places == ["0", "0"]


def test_the_page_is_small_enough_to_mail_and_without_figures_holds_no_plotly(session):
    assert len(html_report.page(session).encode()) < MOST_BYTES
    without = html_report.page(all_hold())
    assert 'id="plotly"' not in without
    assert len(without.encode()) < 100_000


def test_nothing_is_loaded(session):
    tags = Page(html_report.page(session)).tags
    assert not [values for tag, values in tags if "src" in values or tag in ("link", "iframe", "base")]
    assert not re.search(r"@import|url\(", (ROOT / "lib" / "reports" / "report.css").read_text(encoding="utf-8"))


def test_whatever_the_records_hold_is_text(session):
    """Every string of every record is made an attack; the tags of the page must stay those of the harmless one."""
    attack = "\"'></script><!--<script>alert(1)</script><b onclick='x'>"

    def poisoned(value, key=""):
        if isinstance(value, dict):
            return {name: poisoned(each, name) for name, each in value.items()}
        if isinstance(value, list):
            return [poisoned(each, key) for each in value]
        keeps_meaning = key in ("outcome", "verdict", "method", "kind")
        return value + attack if isinstance(value, str) and value and not keeps_meaning else value

    bad = Session.model_validate(poisoned(session.model_dump())).model_copy(update={"sources": session.sources})
    pages = [Page(html_report.page(each).replace(html_report.plotly(), "")) for each in (session, bad)]
    assert [tag for tag, _ in pages[0].tags] == [tag for tag, _ in pages[1].tags]
    assert [sorted(values) for _, values in pages[0].tags] == [sorted(values) for _, values in pages[1].tags]


def test_a_source_is_a_link_where_its_address_is_known():
    addresses = {"A": "https://a.example", "A B": "https://ab.example", "C": "javascript:alert(1)"}
    assert linked("A B, §1; A; C", addresses) == (
        '<a href="https://ab.example">A B</a>, §1; <a href="https://a.example">A</a>; C'
    )
    assert linked("<A>", addresses) == '&lt;<a href="https://a.example">A</a>&gt;'
    assert linked(SCRIPT, {}) == "&lt;script&gt;alert(&#39;claim&#39;)&lt;/script&gt;"


def test_every_source_that_names_authors_can_be_looked_up():
    published = read_references(FOLDER)
    for reference in published.values():
        if "et al." in reference.source or "demo" in reference.source:
            assert "<a href" in linked(reference.source, dict(ADDRESSES)), reference.source


@pytest.mark.parametrize(("value", "inside"), [(3.2, False), (3.4, True), (3.79, True), (4.0, False)])
def test_the_dot_lies_in_the_band_exactly_where_the_value_does(value, inside):
    drawn = strip(figure("difference", "s", "x", value, value - 0.05, value + 0.05))
    assert (drawn.band[0] <= drawn.value <= drawn.band[1]) == inside


def test_published_and_measured_values_lie_on_one_scale():
    drawn = strip(figure("difference", "s", "x", 3.56, 3.5, 3.6))
    assert drawn.published == [drawn.value]
    assert drawn.low < drawn.value < drawn.high


def test_a_band_with_one_end_runs_off_the_other_side():
    assert strip(figure("copying", "s", "x", 0.95, 0.92, 0.97)).band[1] == STRIP_WIDTH
    assert strip(figure("control", "s", "x", 0.1, 0.05, 0.15)).band[0] == 0


def test_an_exact_value_on_its_band_end_can_be_drawn():
    drawn = strip(figure("copying", "s", "x", 0.9, 0.9, 0.9, n=1))
    assert drawn.band[0] == drawn.low == drawn.value == drawn.high < STRIP_WIDTH


def test_a_saved_session_renders_to_the_same_page(session, tmp_path):
    saved, rendered = tmp_path / "claims.json", tmp_path / "claims.html"
    saved.write_text(session.model_dump_json(indent=1), encoding="utf-8")
    done = run_module("lib.reports.render", str(saved), str(rendered), folder=ROOT, environment=os.environ)
    assert done.returncode == 0, done.stderr
    assert rendered.read_text(encoding="utf-8") == html_report.page(session)


def test_the_policy_allows_the_pages_own_scripts_alone(session):
    policy = Page(html_report.page(session)).tags[3][1]["content"]
    assert policy.count("'sha256-") == 2
    assert "default-src 'none'" in policy
    assert "unsafe-inline" not in policy.partition("script-src")[2]


def test_a_claim_without_figures_says_so():
    alone = all_hold().model_copy(update={"claims": [claim("a.py::a", "second", "A.", "failed", reason="oh no")]})
    assert "no figure was measured" in text_of(alone)
    assert "oh no" in text_of(alone)
