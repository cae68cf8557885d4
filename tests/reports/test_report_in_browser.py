"""The page in a real browser: figures are drawn when a claim is opened, and text that tries to be markup stays text."""

import html
import json
import re
import subprocess

import pytest

from lib.reports import html_report
from tests.support.browser import CHROMIUM, OPTIONS
from tests.support.example_session import example_session

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium")

# Any script of the page's texts leaves this mark on it. Prompts, a folder and an exception can all hold it.
ATTACK = "<img src=x onerror=document.documentElement.dataset.ran=1>"
RAN = 'data-ran="1"'
OPEN_ALL = "<script>document.querySelectorAll('details').forEach((one) => (one.open = true));</script>"


def shown_in_browser(page, tmp_path):
    """The page's elements after it has been loaded and every claim was opened, without the texts of its scripts."""
    # Without its policy, which would stop an injected script too: escaping has to be enough by itself.
    page = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
    file = tmp_path / "opened.html"
    file.write_text(page.replace("</body>", OPEN_ALL + "</body>"), encoding="utf-8", newline="\n")
    return dumped(file)


def dumped(file):
    command = [CHROMIUM, *OPTIONS, f"--user-data-dir={file.parent / 'profile'}"]
    command += ["--virtual-time-budget=10000", "--dump-dom", file.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return re.sub(r"<script.*?</script>", "", done.stdout, flags=re.DOTALL)


def test_every_kind_of_drawing_is_drawn_once_its_claim_is_open(tmp_path):
    session = example_session()
    dom = shown_in_browser(html_report.page(session), tmp_path)
    assert dom.count("js-plotly-plot") == sum(one.drawing.kind != "table" for one in session.drawings)
    assert dom.count('class="main-svg"') >= len(session.drawings) - 1
    assert "&lt;script&gt;alert('claim')&lt;/script&gt;" in dom


def test_under_its_own_policy_the_page_draws_and_an_injected_script_does_not_run(tmp_path):
    page = html_report.page(example_session())
    first = page.index('id="planted/behaviour/difference"')
    page = page[:first] + "open " + page[first:] + ATTACK  # an open claim draws itself
    (tmp_path / "page.html").write_text(page, encoding="utf-8", newline="\n")
    dom = dumped(tmp_path / "page.html")
    assert "js-plotly-plot" in dom
    assert RAN not in dom


def test_a_script_that_is_not_escaped_would_be_seen(tmp_path):
    page = html_report.page(example_session())
    assert RAN in shown_in_browser(page.replace("</main>", ATTACK + "</main>"), tmp_path)


CONFTEST = """
import pytest
from lib.judging.references import Reference

pytest_plugins = ["lib.plugin.pytest_plugin"]

@pytest.fixture(params=["toy"])
def subject(request):
    return request.param
"""
CLAIMS = '''
import json, sys
from pathlib import Path
import pytest, torch
from lib.judging.drawings import Pattern
from lib.judging.measurements import Subject
from lib.judging.references import Reference
from lib.judging.statistics import exact

HERE = Path(__file__).parent
[FOLDER] = [path for path in HERE.iterdir() if path.name.startswith("model")]
PROMPT = json.loads((HERE / "prompts.json").read_text())["prompt"]
CLAIM = Reference(id="toy/share", says="1", value=1, source="Toy", how="by hand", accept={"above": 0.9}, why="so")

def test_reads_a_prompt(subject, record):
    """It reads a prompt."""
    record.describe(Subject(name="toy", directory=FOLDER.name, weights_hash="0", shape="none", device="cpu",
                            dtype="float32", prompts=1, seed=0, prepend_bos=False))
    record.show(Pattern(title=PROMPT, words=PROMPT.split(" "), weights=[[1.0] * (i + 1) for i in range(5)]))
    assert record("share", exact(0.5), CLAIM, worst_prompt=PROMPT) in CLAIM

@pytest.mark.parametrize("prompt", [PROMPT])
def test_breaks(subject, prompt):
    """It breaks."""
    print(prompt)
    raise RuntimeError(f"cannot read {PROMPT}")
'''


def test_a_prompt_a_folder_and_an_exception_that_hold_markup_are_shown_as_text(pytester, tmp_path):
    folder = pytester.mkdir("claims")
    attack = ATTACK.replace("/", "")
    (folder / f"model {attack}").mkdir()
    (folder / "prompts.json").write_text(json.dumps({"prompt": f"Then {attack} gave"}), encoding="utf-8")
    (folder / "test_toy.py").write_text(CLAIMS, encoding="utf-8")
    pytester.makeconftest(CONFTEST)
    pytester.runpytest("claims").assert_outcomes(failed=2)
    page = (pytester.path / "reports" / "claims.html").read_text(encoding="utf-8")
    dom = shown_in_browser(page, tmp_path)
    assert RAN not in dom
    assert "onerror" not in " ".join(re.findall(r"<img[^>]*>", dom))
    assert dom.count('class="col-testId"') == 2  # pytest-html has drawn its log
    dom = re.sub(r'data-jsonblob="[^"]*"', "", dom)  # from this, which is no text of the page
    shown = html.unescape(re.sub(r"<[^>]*>", "", dom))
    for text in (
        f"model {attack}",
        f"Then {attack} gave",
        f"cannot read Then {attack} gave",
        f"test_breaks[toy-Then {attack}",
    ):
        assert text in shown
    assert f"1 {attack.split(' ')[0]}" in shown  # a tick of the drawing's axis


pytest_plugins = ["pytester"]
