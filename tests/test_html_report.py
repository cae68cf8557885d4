import re
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest

from lib import html_report
from lib.measurements import Claim, Session
from tests.example_session import HASH, SCRIPT, all_hold, claim, example_session, figure

VOID = {"img", "br", "rect", "path", "circle"}
# The two patterns by which pytest-html 4.2 (basereport.py) finds what a column is sorted by.
NAME, DATA = re.compile(r"col-(\w+)"), re.compile(r"<td.*?>(.*?)</td>")


class Page(HTMLParser):
    """Tags and text of a fragment; fails where tags do not close."""

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
        self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def page(session):
    """Everything above the table but the style sheet."""
    return Page("".join(html_report.summary(session)[1:]))


def everything(session):
    rows = [html for claim in session.claims for html in (*html_report.row_cells(claim), html_report.detail(claim))]
    return [*html_report.summary(session)[1:], *html_report.header_cells(), *rows]


def find(session, standing):
    return next(claim for claim in session.claims if html_report.standing(claim) == standing)


@pytest.fixture
def session():
    """The example with a map small enough to be drawn often."""
    whole = example_session()
    return whole.model_copy(update={"head_maps": [whole.head_maps[0].model_copy(update={"values": [[1.0, -2.0]]})]})


def test_the_title_names_the_subjects(session):
    assert html_report.title(session) == "Circuit claims: planted, second"
    assert "nothing was measured" in html_report.title(session.model_copy(update={"subjects": [], "claims": []}))


def test_the_page_reads_top_down_from_verdict_to_guide(session):
    text = page(session).text
    parts = [
        "planted : 1 of 6 claims hold, 2 fail, 1 is inconclusive, 1 could not be run, 1 was skipped.",
        "✗ fails : Head 10.0 copies the name it attends to.",
        "second : 2 of 2 claims hold.",
        "Not measured in this run third-model: its weights are not on this machine. To measure it: pytest claims",
        "What was under test",
        "Figures",
        "How to read a verdict",
        "Every claim",
    ]
    places = [text.index(part) for part in parts]
    assert places == sorted(places)


def test_what_was_under_test_is_complete(session):
    found = page(session)
    for fact in ("models/planted", "12 layers, 12 heads", "cpu, float32", "N = 100, seed 0", "torch 2.13.0", "75 s"):
        assert fact in found.text
    assert session.command in found.text
    assert session.started in found.text
    assert found.text.count(HASH[:12]) == 2
    assert HASH not in found.text
    assert [values["title"] for tag, values in found.tags if tag == "code" and "title" in values] == [HASH, HASH]


def test_each_head_map_is_an_image_with_words_for_it():
    images = [values for tag, values in page(example_session()).tags if tag == "img"]
    assert [values["alt"].split(":")[0] for values in images] == [
        "Direct logit attribution by head, planted",
        "Direct logit attribution by head, second",
    ]
    assert all(values["src"].startswith("data:image/svg+xml;base64,") for values in images)


def test_a_map_that_several_claims_recorded_is_drawn_once(session):
    again = session.head_maps[0].model_copy(update={"test": "another claim"})
    other = again.model_copy(update={"values": [[3.0, -2.0]]})
    both = session.model_copy(update={"head_maps": [session.head_maps[0], again, other]})
    assert sum(tag == "img" for tag, _ in page(both).tags) == 2


def test_the_top_names_ten_claims_that_do_not_hold_and_counts_the_rest(session):
    claims = [claim("a.py::a", "s", f"Claim {i} holds.", "failed") for i in range(13)]
    text = page(session.model_copy(update={"claims": claims, "subjects": []})).text
    assert "Claim 9 holds. and 3 more: see the table" in text
    assert "Claim 10" not in text


def test_a_session_without_claims_says_so(session):
    nothing = session.model_copy(update={"claims": [], "subjects": [], "head_maps": []})
    assert "No claim was run." in page(nothing).text
    assert "planted : no claim was run." in page(session.model_copy(update={"claims": []})).text


def test_nothing_is_loaded_and_no_script_is_ours(session):
    for html in [*everything(session), html_report.summary(session)[0]]:
        assert "<script" not in html
        assert not re.search(r"@import|url\(|(src|href)=.(?!data:)", html)


def test_whatever_the_records_hold_is_text(session):
    """Every string of every record is made an attack; the tags of the page must stay those of the harmless one."""
    attack = "\"'><script>alert(1)</script><b onclick='x'>"

    def poisoned(value, key=""):
        if isinstance(value, dict):
            return {name: poisoned(each, name) for name, each in value.items()}
        if isinstance(value, list):
            return [poisoned(each, key) for each in value]
        keeps_meaning = key in ("outcome", "verdict", "method", "name", "subject")
        # What is empty stays so: an example that is there adds a line to the page.
        return attack + value if isinstance(value, str) and value and not keeps_meaning else value

    bad = Session.model_validate(poisoned(session.model_dump()))
    for clean, dirty in zip(everything(session), everything(bad), strict=True):
        assert [tag for tag, _ in Page(clean).tags] == [tag for tag, _ in Page(dirty).tags]
        assert [sorted(values) for _, values in Page(clean).tags] == [sorted(values) for _, values in Page(dirty).tags]


def test_names_and_methods_are_text_too(session):
    bad = claim("a.py::a", SCRIPT, "A.", "failed", figure("copying", SCRIPT, "x", 0.5, 0.4, 0.6))
    bad = bad.model_copy(update={"measurements": [bad.measurements[0].model_copy(update={"method": SCRIPT})]})
    subjects = [session.subjects[0].model_copy(update={"name": SCRIPT})]
    for html in everything(session.model_copy(update={"subjects": subjects, "claims": [bad], "head_maps": []})):
        assert "script" not in [tag for tag, _ in Page(html).tags]


def test_a_row_fills_the_columns_that_the_header_names(session):
    headers = html_report.header_cells()
    for each in session.claims:
        cells = html_report.row_cells(each)
        spans = [int(found.group(1)) if (found := re.search(r'colspan="(\d+)"', cell)) else 1 for cell in cells]
        assert sum(spans) == len(headers)
        assert len(cells) <= len(headers)  # pytest-html looks up the header of each cell by its place


def test_sortable_cells_lie_under_their_header_and_are_found_by_pytest_html(session):
    for each in session.claims:
        for header, cell in zip(html_report.header_cells(), html_report.row_cells(each), strict=False):
            if "sortable" in header:
                assert f'data-column-type="{NAME.search(cell).group(1)}"' in header
                assert DATA.search(cell)


def sorted_by(column, claims):
    def key(claim):
        return next(DATA.search(c).group(1) for c in html_report.row_cells(claim) if NAME.search(c).group(1) == column)

    return sorted(claims, key=key)


def test_durations_and_head_addresses_sort_by_their_size():
    quick, slow = (claim("a.py::a", "s", "A.", "passed", seconds=seconds) for seconds in (9.1, 10.2))
    assert sorted_by("seconds", [slow, quick]) == [quick, slow]
    nine, ten = (claim("a.py::a", "s", f"Head {head} copies.", "passed") for head in ("9.9", "10.0"))
    assert sorted_by("claim", [ten, nine]) == [nine, ten]


def test_a_sentence_with_a_line_break_still_sorts():
    cell = html_report.row_cells(claim("a.py::a", "s", "One\ntwo.", "passed"))[0]
    assert "one two." in DATA.search(cell).group(1)


def test_a_row_shows_sentence_subject_figures_band_and_source(session):
    text = Page("".join(html_report.row_cells(find(session, "inconclusive")))).text
    for fact in ("The answer beats the repeated name", "planted", "0.4 s", "logit difference", "3.41 [3.27, 3.56]"):
        assert fact in text
    for fact in ("N = 100", "3.3 to 3.8", "? inconclusive", "3.56 Wang et al. 2022, §2"):
        assert fact in text


def test_verdicts_are_words_not_only_colours(session):
    text = Page("".join(html_report.row_cells(find(session, "fails")))).text
    assert "✗ outside" in text
    assert "✓ inside" in text


def test_the_row_of_an_inconclusive_claim_is_marked_for_the_style_sheet(session):
    assert 'class="col-claim inconclusive"' in html_report.row_cells(find(session, "inconclusive"))[0]
    assert ".inconclusive.col-claim" in html_report.summary(session)[0]


def test_a_claim_with_many_figures_shows_the_worst_and_counts_the_rest():
    good = [figure("copying", "s", f"good {i}", 0.97, 0.95, 0.99) for i in range(6)]
    many = claim("a.py::a", "s", "A.", "failed", *good, figure("copying", "s", "bad", 0.5, 0.4, 0.6))
    row, detail = Page(html_report.row_cells(many)[-1]).text, Page(html_report.detail(many)).text
    assert row.startswith("bad 0.50 [0.40, 0.60]")
    assert "and 3 more" in row
    assert "good 5" not in row
    assert "good 5" in detail


def test_an_opened_failure_explains_itself_first(session):
    detail = Page(html_report.detail(find(session, "fails"))).text
    assert detail.startswith("✗ Fails. copy score of 10.0: measured 0.61 [0.55, 0.68] (N = 100); accepted: at least")
    assert "because: a replication prints 94.5% for two of the three heads" in detail
    assert "measured there as: answer in the top 5 logits" in detail


def test_an_opened_success_shows_how_it_was_measured(session):
    detail = Page(html_report.detail(find(session, "holds"))).text
    assert detail.startswith("✓ inside copy score of 9.9 measured 0.970 [0.945, 0.990]; N = 100, bootstrap over")


def test_a_failure_outside_any_test_has_a_row_too():
    broken = Claim(
        test="claims/test_x.py",
        subject="",
        sentence="claims/test_x.py can be loaded.",
        outcome="error",
        seconds=0.0,
        reason="No module named 'x'",
        measurements=[],
    )
    assert "no figure was measured" in "".join(html_report.row_cells(broken))
    assert "no subject" in "".join(html_report.row_cells(broken))
    assert "No module named 'x'" in unescape(html_report.detail(broken))


def bar(figure):
    html = html_report.row_cells(claim("a.py::a", "s", "A.", "passed", figure))[-1]
    tags = {values.get("class", tag): values for tag, values in Page(html).tags if tag in ("rect", "path", "circle")}
    left = float(tags["band"]["x"])
    return left, left + float(tags["band"]["width"]), float(tags["circle"]["cx"]), tags["interval"]["d"]


@pytest.mark.parametrize(("value", "inside"), [(3.2, False), (3.4, True), (3.79, True), (4.0, False)])
def test_the_dot_lies_in_the_band_exactly_where_the_value_does(value, inside):
    left, right, dot, _ = bar(figure("difference", "s", "x", value, value - 0.05, value + 0.05))
    assert (left <= dot <= right) == inside


def test_a_band_with_one_end_runs_off_the_other_side():
    assert bar(figure("copying", "s", "x", 0.95, 0.92, 0.97))[1] == html_report.BAR_WIDTH
    assert bar(figure("control", "s", "x", 0.1, 0.05, 0.15))[0] == 0


def test_an_exact_value_on_its_band_end_can_be_drawn():
    left, right, dot, interval = bar(figure("copying", "s", "x", 0.9, 0.9, 0.9, n=1))
    assert left == dot < right
    assert interval == f"M{dot} 7.0H{dot}"


def test_a_session_renders_the_same_after_a_trip_through_json(session):
    for each in (session, all_hold()):
        returned = Session.model_validate_json(each.model_dump_json(indent=1))
        assert returned == each
        assert html_report.title(returned) == html_report.title(each)
        assert everything(returned) == everything(each)


def test_the_style_sheet_is_the_file_beside_the_module(session):
    sheet = Path(html_report.__file__).with_name("report.css").read_text(encoding="utf-8")
    assert html_report.summary(session)[0] == f"<style>{sheet}</style>"
    assert "</style" not in sheet
    assert sheet.count("{") == sheet.count("}")
