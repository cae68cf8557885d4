"""The page as a reader uses it: by keyboard alone, with a mouse, in the dark and on paper."""

import pytest

from lib.reports import html_report
from tests.support.browser import CHROMIUM, Browser
from tests.support.example_session import example_session

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium")

LEAST_CONTRAST = 4.5  # WCAG 2.2, 1.4.3 (AA), for text of any size
OPEN_ALL = "document.querySelectorAll('details').forEach((one) => (one.open = true))"
DRAWN = "[...document.querySelectorAll('[data-drawing]')].every((one) => one.querySelector('.main-svg'))"
FOCUSED = "document.activeElement.closest('summary') && document.activeElement.parentElement.id"
# Text that is seen, and its contrast with what is behind it. Numbers in a map's cells are left out: plotly picks black
# or white for each cell.
CONTRASTS = """
(() => {
  const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = (colour) => numbers(colour).slice(0, 3)
    .map((one) => one / 255)
    .map((one) => (one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4))
    .reduce((sum, one, i) => sum + one * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (element) => {
    for (; element; element = element.parentElement) {
      const colour = getComputedStyle(element).backgroundColor;
      if ((numbers(colour)[3] ?? 1) > 0) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const found = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement, text = texts.currentNode.data.trim();
    if (!text || !element.checkVisibility() || element.closest("script, style, title, .heatmap-label")) continue;
    const style = getComputedStyle(element);
    const [one, other] = [element.closest("svg") ? style.fill : style.color, behind(element)].map(light);
    found.push([text, (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05)]);
  }
  return found;
})()
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("profile")) as running:
        yield running


@pytest.fixture
def page(browser, tmp_path):
    """The browser with the page just loaded, as on a light screen."""
    (tmp_path / "page.html").write_text(html_report.page(example_session()), encoding="utf-8", newline="\n")
    browser.open(tmp_path / "page.html")
    browser.show_as()
    return browser


def focus_with_tab(page, claim):
    for _ in range(100):
        page.press("Tab")
        if page.value(FOCUSED) == claim:
            return
    raise AssertionError(f"Tab never reaches the summary of {claim}")


def test_a_claim_is_reached_opened_and_drawn_by_keyboard_alone(page):
    focus_with_tab(page, "planted/behaviour/difference")
    assert page.value("getComputedStyle(document.activeElement).outlineStyle") == "solid"  # one sees where one is
    assert not page.value("document.getElementById('planted/behaviour/difference').open")
    page.press("Enter")
    page.until("document.getElementById('planted/behaviour/difference').querySelectorAll('.main-svg').length > 4")
    page.press("Enter")
    page.until("!document.getElementById('planted/behaviour/difference').open")


def test_hovering_over_a_head_map_tells_head_and_value(page):
    page.value("document.getElementById('planted/movers/copies').open = true")
    page.until("document.getElementById('planted/movers/copies').querySelector('.heatmaplayer image') !== null")
    x, y = page.value("""
        (() => {
          const plot = document.getElementById('planted/movers/copies').querySelector("[data-drawing]");
          plot.scrollIntoView({ block: "center" });
          const { left, top } = plot.getBoundingClientRect(), { xaxis, yaxis } = plot._fullLayout;
          return [left + xaxis._offset + xaxis.c2p(7), top + yaxis._offset + yaxis.c2p(10)];
        })()
    """)
    page.point_at(x - 1, y)
    page.point_at(x, y)
    told = page.until(
        "document.getElementById('planted/movers/copies').querySelector('.hoverlayer .hovertext')?.textContent"
    )
    assert told == "head 10.7: -1.911"


@pytest.mark.parametrize(("media", "scheme"), [("screen", "light"), ("screen", "dark"), ("print", "dark")])
def test_all_text_is_legible(media, scheme, page):
    page.show_as(scheme=scheme)
    page.value(OPEN_ALL)
    page.until(DRAWN)
    if media == "print":
        page.show_as(media=media, scheme=scheme)
        page.value("dispatchEvent(new Event('beforeprint'))")
        page.until(DRAWN)
    dark = page.value("getComputedStyle(document.body).backgroundColor") == "rgb(19, 24, 31)"
    assert dark == ((media, scheme) == ("screen", "dark"))
    found = page.value(CONTRASTS)
    assert {"How to read a verdict", "layer"} <= {text for text, _ in found}
    assert [(text, round(contrast, 1)) for text, contrast in found if contrast < LEAST_CONTRAST] == []


def test_on_paper_a_closed_claim_says_how_it_came_out(page):
    page.show_as(media="print", scheme="dark")
    seen = " ".join(
        page.value("document.getElementById('planted/movers/copies_too').querySelector('summary').innerText").split()
    )
    for words in ("✗ fails", "Head 10.0 copies the name it attends to.", "[0.55, 0.68]", "published above 95%"):
        assert words in seen
    assert page.value("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert min(contrast for _, contrast in page.value(CONTRASTS)) >= LEAST_CONTRAST
    assert page.call("Page.printToPDF", printBackground=False)["data"]


def visible(page):
    claims = "[...document.querySelectorAll('.claim')]"
    return page.value(f"{claims}.filter((one) => one.checkVisibility()).map((one) => one.id)")


def fill(page, field, text):
    page.value(f"document.getElementById('{field}').value = '{text}'")
    page.value("document.getElementById('search').dispatchEvent(new Event('input'))")


def test_claims_are_found_by_words_family_verdict_and_kind(page):
    everything = visible(page)
    fill(page, "text", "10.0 COPIES")
    assert visible(page) == ["planted/movers/copies_too"]
    assert page.value("document.getElementById('found').textContent") == f"1 of {len(everything)}"
    fill(page, "text", "")
    fill(page, "state", "inconclusive")
    assert visible(page) == ["planted/behaviour/difference"]
    fill(page, "kind", "control")
    assert visible(page) == []
    assert not page.value("document.getElementById('family-1').checkVisibility()")
    page.value("location.hash = '#planted/movers/copies'")  # a link to what the search hides shows it
    page.until("document.getElementById('planted/movers/copies').open")
    assert visible(page) == everything


def test_plotly_is_not_read_before_a_figure_is_opened(page):
    assert page.value("typeof Plotly") == "undefined"
    page.value("document.getElementById('planted/movers/copies').open = true")
    page.until("document.getElementById('planted/movers/copies').querySelector('.main-svg') !== null")


def test_a_word_leads_to_what_it_means(page):
    page.value("location.hash = '#word-copies'")
    page.until("document.getElementById('glossary').open")
