"""pytest-html writes the page at the end of a run: our page as its summary, its table as the log; whole or not."""

import json
import re
from fnmatch import fnmatch
from html import unescape

import pytest

from lib.judging.measurements import Session
from lib.reports import html_report
from tests.support.browser import CHROMIUM, Browser
from tests.support.warm_process import warm_python

pytest_plugins = ["pytester"]

CONFTEST = """
import pytest
pytest_plugins = ["lib.plugin.pytest_plugin"]

@pytest.fixture(params=["toy"])
def subject(request):
    return request.param
"""
CLAIMS = '''
import torch

def test_holds(subject, record):
    """It holds."""
    record.head_map("a map", "units", torch.eye(2))
    print("said while it held")

def test_fails(subject):
    """It fails."""
    print("said before it failed")
    raise AssertionError("<b>oh no</b>")
'''


@pytest.fixture
def project(pytester):
    """A folder with two claims, one of which holds."""
    pytester.makeconftest(CONFTEST)
    pytester.mkdir("claims")
    pytester.path.joinpath("claims", "test_toy.py").write_text(CLAIMS, encoding="utf-8")
    return pytester


def page_of(project, name="reports/claims.html"):
    return project.path.joinpath(name).read_text(encoding="utf-8")


def logs(page):
    """The log of every test, as pytest-html's script reads it."""
    [blob] = re.findall(r'data-jsonblob="([^"]*)"', page)
    return {test: [row["log"] for row in rows] for test, rows in json.loads(unescape(blob))["tests"].items()}


def check(project, page):
    """A page has the body made from the JSON, then the log; plotly and title are in it once."""
    session = Session.model_validate_json(page_of(project, "reports/claims.json"))
    assert page.index(html_report.body(session)) < page.index("Log of every test") < page.index('id="results-table"')
    assert page.count(html_report.packed(html_report.plotly())) == 1
    assert '<title id="head-title">Circuit claims: toy</title>' in page
    assert sorted(logs(page)) == ["claims/test_toy.py::test_fails[toy]", "claims/test_toy.py::test_holds[toy]"]


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium")
def test_the_log_is_drawn_once_it_is_opened(project, tmp_path):
    project.runpytest("claims")
    rows = "document.querySelectorAll('#results-table tbody.results-table-row').length"
    with Browser(tmp_path) as browser:
        browser.open(project.path / "reports" / "claims.html")
        assert browser.value(rows) == 0
        for _ in range(2):  # and not a second time
            browser.value("document.getElementById('log').open = true")
            browser.until(f"{rows} === 2")
            browser.value("document.getElementById('log').open = false")


def test_our_page_is_the_summary_and_the_log_says_what_failing_tests_printed(project):
    result = project.runpytest("claims")
    check(project, page_of(project))
    found = logs(page_of(project))
    assert found["claims/test_toy.py::test_holds[toy]"] == [""]
    [log] = found["claims/test_toy.py::test_fails[toy]"]
    assert "said before it failed" in log
    assert "<b>" not in log
    result.stdout.no_fnmatch_line("*Generated html report*")


def test_spread_over_processes_it_is_the_same_page(project, monkeypatch):
    monkeypatch.setattr("sys.executable", warm_python())
    project.runpytest("claims", "-n", "2").assert_outcomes(passed=1, failed=1)
    check(project, page_of(project))


def test_html_names_another_place(project):
    project.runpytest("claims", "--html", "elsewhere/page.html").stdout.fnmatch_lines(["written: *elsewhere/page.html"])
    check(project, page_of(project, "elsewhere/page.html"))
    assert not project.path.joinpath("reports", "claims.html").exists()


def test_a_run_of_no_claim_leaves_the_earlier_page_unless_a_page_was_asked_for(project):
    project.runpytest("claims")
    earlier = page_of(project)
    project.runpytest("claims", "-k", "nothing")
    assert page_of(project) == earlier
    project.runpytest("claims", "-k", "nothing", "--html", "reports/claims.html")
    assert "No claim was run." in page_of(project)


def test_a_part_of_the_claims_does_not_take_the_place_of_what_all_of_them_said(project):
    project.runpytest("claims")
    whole = page_of(project)
    for narrowed in (("claims", "-k", "holds"), (next(project.path.glob("claims/*.py")).as_posix(),)):
        project.runpytest(*narrowed).stdout.fnmatch_lines(["written: *reports/narrowed/claims.html"])
        assert "Only a part was asked" in page_of(project, "reports/narrowed/claims.html")
    assert page_of(project) == whole
    project.runpytest("claims", "-m", "gpu or not gpu", "--claims-report", "reports")
    assert "Only a part was asked" in page_of(project)


def test_without_claims_pytest_html_is_left_alone(project):
    project.makepyfile(test_other="def test_other(): pass")
    project.runpytest("test_other.py")
    assert not project.path.joinpath("reports").exists()
    project.runpytest("test_other.py", "--html", "page.html").stdout.fnmatch_lines(
        ["*Generated html report*page.html*"]
    )
    assert "Circuit claims" not in page_of(project, "page.html")


def test_what_a_ci_service_says_of_a_job_is_not_in_the_page(project, monkeypatch):
    monkeypatch.setenv("JENKINS_URL", "https://ci.example")
    monkeypatch.setenv("GIT_URL", "https://name:secret@git.example/<b>")
    project.runpytest("claims")
    assert "name:secret" not in page_of(project)


@pytest.mark.parametrize("folder", ["/sys", "/sys/nowhere"])  # not even root makes a file there
def test_a_place_that_cannot_be_written_to_is_told_before_any_claim_runs(folder, project):
    result = project.runpytest("claims", "--html", f"{folder}/page.html")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    said = f"no report can be written to {folder} (*): name another folder with --html"
    assert fnmatch(result.stderr.str().strip(), f"ERROR: {said}")
    assert not project.path.joinpath("reports", "claims.json").exists()


def test_a_page_that_cannot_be_written_at_the_end_fails_the_run_in_one_line(project):
    project.path.joinpath("reports", "claims.html").mkdir(parents=True)
    result = project.runpytest("claims", "-k", "holds", "--claims-report", "reports")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*claims.html could not be written (Is a directory): there is no report"])
    result.stdout.no_fnmatch_line("*INTERNALERROR*")
