"""`--claims-baseline` from the command line to the exit status and the three reports, on a toy subject."""

import shutil
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from lib.judging.measurements import Session
from lib.reports import compare

pytest_plugins = ["pytester"]

CONFTEST = """
import pathlib
import pytest
from lib.judging.measurements import Subject
from lib.judging.references import Reference

pytest_plugins = ["lib.plugin.pytest_plugin"]
TOY = dict(name="toy", directory="", weights_hash="", shape="", device="cpu", dtype="float32", prompts=3, seed=0)

@pytest.fixture(params=["toy"])
def subject(request, record):
    record.describe(Subject(**TOY, prepend_bos=False))

@pytest.fixture
def claim():
    return Reference(id="toy/x", says="about 2", source="Toy", how="so", accept={"above": 1, "below": 9}, why="so")

@pytest.fixture
def values():
    import torch
    return torch.tensor([float(line) for line in pathlib.Path("values").read_text().split()]).repeat(8)
"""
CLAIMS = '''
from lib.judging.statistics import exact, mean_over_prompts

def test_mean(subject, values, claim, record):
    """The mean is about 2."""
    assert record("mean <b>", mean_over_prompts(values), claim) in claim

def test_largest(subject, values, claim, record):
    """The largest is about 2."""
    assert record("largest", exact(values.max()), claim) in claim
'''
KEPT = "kept.json"


@pytest.fixture
def run(pytester, monkeypatch):
    """Runs the toy claims on three values, eight times each, against the baseline."""
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    pytester.makeconftest(CONFTEST)
    pytester.mkdir("claims")
    Path("claims", "test_toy.py").write_text(CLAIMS, encoding="utf-8")

    def runs(*arguments, values="1.5 2.0 2.5", baseline=KEPT):
        Path("values").write_text(values, encoding="utf-8")
        asked = ["--claims-baseline", baseline] if baseline else []
        return pytester.runpytest("claims", "--claims-report", "reports", *asked, *arguments)

    return runs


@pytest.fixture
def kept(run):
    """The toy run kept as baseline."""
    assert run("--claims-update-baseline").ret == pytest.ExitCode.OK
    return Path(KEPT)


def report():
    return Session.model_validate_json(Path("reports", "claims.json").read_text(encoding="utf-8"))


def test_a_missing_baseline_is_written_and_the_run_fails(run):
    result = run()
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["there was no baseline kept.json: this run was kept as one. Look at it*"])
    assert run().ret == pytest.ExitCode.OK
    assert not report().drift.drifted


def test_drift_inside_the_band_fails_the_run_in_all_three_reports(run, kept):
    before = kept.read_bytes()
    result = run(values="1.5 2.01 2.5")
    result.assert_outcomes(passed=2)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["Against kept.json: 1 of 2 figures drifted", "*mean <b>: 2 -> 2.00333 (+0.01 on the*"])
    assert [change.drifted for change in report().drift.changes] == [True, False]
    page = Path("reports", "claims.html").read_text(encoding="utf-8")
    assert "Against the baseline: 1 of 2 figures drifted" in page
    assert "mean <b>" not in page
    assert kept.read_bytes() == before


def test_rounding_is_no_drift(run, kept):
    assert run(values="1.5 2.00005 2.5").ret == pytest.ExitCode.OK


def test_a_claim_that_was_dropped_fails_the_run_and_one_that_was_not_asked_does_not(run, kept):
    assert run("-k", "mean").ret == pytest.ExitCode.OK
    assert run("claims/test_toy.py::test_mean").ret == pytest.ExitCode.OK  # the folder is named as well
    Path("claims", "test_toy.py").write_text(CLAIMS.partition("def test_largest")[0], encoding="utf-8")
    assert run().ret == pytest.ExitCode.TESTS_FAILED
    assert report().drift.vanished == ["claims/test_toy.py::test_largest[toy]"]


def test_a_run_that_stops_at_its_first_failure_misses_nothing_that_it_did_not_reach(run, kept):
    run("-x", values="0 0 0")
    assert report().ended == "stopping after 1 failures"
    assert report().drift.vanished == []
    assert [(flip.old, flip.new) for flip in report().drift.flips] == [("holds", "fails")]


def test_a_new_baseline_is_written_where_it_is_asked_for_alone(run, kept):
    assert run("--claims-update-baseline", values="3 4 5").ret == pytest.ExitCode.OK
    assert run(values="3 4 5").ret == pytest.ExitCode.OK


def test_a_baseline_is_not_replaced_by_a_part_of_it(run, kept):
    before = kept.read_bytes()
    result = run("--claims-update-baseline", "-k", "mean")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*kept.json is a run of everything, this is one of -k mean: it would lose claims.*"])
    result = run("--claims-update-baseline", "-x", values="0 0 0")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["no baseline was written to kept.json: the run ended early*"])
    assert kept.read_bytes() == before


@pytest.mark.parametrize(
    ("text", "says"), [("{}", "is not a claims.json of this suite"), ('{"schema_version": 99}', "newer version")]
)
def test_what_is_no_baseline_is_a_usage_error_before_any_claim_runs(text, says, run):
    Path(KEPT).write_text(text, encoding="utf-8")
    result = run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*--claims-baseline: kept.json *{says}*another file*"])
    assert not Path("reports", "claims.json").exists()
    assert run("--claims-update-baseline").ret == pytest.ExitCode.OK


def test_what_was_kept_is_said_and_which_claims_failed_in_it(run):
    result = run("--claims-update-baseline", values="0 0 5")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        ["kept in kept.json: 2 figures of toy; in what was kept 1 of 2 claims hold, 1 is inconclusive"]
    )
    result = run("--claims-update-baseline")
    result.stdout.fnmatch_lines(["kept in kept.json: 2 figures of toy; in what was kept 2 of 2 claims hold"])
    run().stdout.no_fnmatch_line("kept in*")


def test_claims_that_failed_in_the_baseline_too_are_excused_where_that_is_asked_for(run):
    run("--claims-update-baseline", values="0 0 0")
    assert run(values="0 0 0").ret == pytest.ExitCode.TESTS_FAILED
    result = run("--claims-known-failures", values="0 0 0")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["0 of 2 claims hold, 2 fail, as in the baseline; nothing drifted"])
    assert run("--claims-known-failures", "-k", "mean", values="0 0 0").ret == pytest.ExitCode.OK


@pytest.mark.parametrize("values", ["0 0 0.0003", "1.5 2.0 2.5"], ids=["moved", "hold"])
def test_what_drifted_is_not_excused_though_it_is_known_to_fail(values, run):
    run("--claims-update-baseline", values="0 0 0")
    result = run("--claims-known-failures", values=values)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.no_fnmatch_line("*as in the baseline*")


def test_a_claim_that_held_in_the_baseline_is_not_excused(run, kept):
    result = run("--claims-known-failures", values="0 0 0")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["2 claims are not known to fail: claims/test_toy.py::test_mean[[]toy], *largest*"])
    assert run("--claims-known-failures").ret == pytest.ExitCode.OK


STRICT = """
import pytest

@pytest.hookimpl(wrapper=True)
def pytest_runtestloop(session):
    done = yield
    session.testsfailed += 1
    return done
"""
NOT_EXCUSED = {
    "stopped": ("", ["-x"]),
    "no claim": ("def test_no_claim():\n    assert False\n", []),
    "could not be run": ('def test_broken(subject, nothing):\n    """It is."""\n', []),
    "could not be loaded": ("import nothing\n", []),
    "another plugin": ("", ["-p", "strict"]),
}


@pytest.mark.parametrize("case", NOT_EXCUSED)
def test_nothing_but_claims_that_fail_is_excused(case, run, pytester):
    """Neither on the first run that is like that nor where it was kept so."""
    text, arguments = NOT_EXCUSED[case]
    pytester.syspathinsert()
    pytester.makepyfile(strict=STRICT)
    for add_before in (False, True):
        file = Path("claims", "test_other.py")
        file.write_text(text if add_before else "", encoding="utf-8")
        run("--claims-update-baseline", values="0 0 0")
        file.write_text(text, encoding="utf-8")
        result = run("--claims-known-failures", *arguments, values="0 0 0")
        assert result.ret not in (pytest.ExitCode.OK, pytest.ExitCode.USAGE_ERROR)


def test_a_report_that_cannot_be_written_is_not_excused(run, monkeypatch):
    run("--claims-update-baseline", values="0 0 0")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "/sys/summary.md")
    assert run("--claims-known-failures", values="0 0 0").ret == pytest.ExitCode.TESTS_FAILED


@pytest.mark.parametrize(("baseline", "update"), [("", []), (KEPT, ["--claims-update-baseline"])])
def test_known_failures_of_no_kept_run_are_a_usage_error(baseline, update, run):
    result = run("--claims-known-failures", *update, baseline=baseline)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --claims-known-failures *name it with --claims-baseline FILE*"])


def test_updating_no_file_is_a_usage_error(run):
    result = run("--claims-update-baseline", baseline="")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*say where with --claims-baseline FILE*"])


def test_a_baseline_where_no_claim_runs_is_a_usage_error(pytester):
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile("def test_something(): pass")
    result = pytester.runpytest("--claims-baseline", KEPT, f"{pytester.path}/{Path(__file__).name}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR


def test_a_baseline_that_cannot_be_written_fails_the_run_and_says_so(run):
    result = run(baseline="/sys/kept.json")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["the baseline /sys/kept.json could not be written*"])


def test_two_kept_runs_are_compared_by_the_command_line_tool(run, kept, capsys):
    shutil.copy(kept, "old.json")
    run("--claims-update-baseline", values="1.5 2.01 2.5")
    assert compare.main(["old.json", "old.json"]) == 0
    assert compare.main(["old.json", KEPT, "--html", "page/drift.html"]) == 1
    assert "1 of 2 figures drifted" in capsys.readouterr().out
    page = Path("page", "drift.html").read_text(encoding="utf-8")
    assert "mean &lt;b&gt;" in page
    for outside in ("<script", "<link", "src=", "http", "mean <b>"):
        assert outside not in page
    Path("broken.json").write_text("{", encoding="utf-8")
    wrong = {"broken.json": ["broken.json", KEPT], "none.json": ["none.json", KEPT]}
    wrong["/sys"] = ["old.json", KEPT, "--html", "/sys/page.html"]
    for named, arguments in wrong.items():
        assert compare.main(arguments) == 2
        assert named in capsys.readouterr().err


def test_junit_has_one_property_a_figure_in_plain_words(run):
    run("--junitxml", "junit.xml", baseline="")
    properties = {one.get("name"): one.get("value") for one in ET.parse("junit.xml").iter("property")}
    assert properties["largest"] == "2.50 exact; accepted: 1 to 9; inside; published: about 2 (Toy)"
    assert sorted(properties) == ["largest", "mean <b>"]


def test_the_summary_of_a_ci_job_gets_one_more_section(run, kept, monkeypatch):
    Path("summary.md").write_text("of another step\n", encoding="utf-8")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "summary.md")
    run(values="1.5 2.01 2.5")
    said = Path("summary.md").read_text(encoding="utf-8")
    assert said.startswith("of another step\n## Circuit claims\n")
    assert "1 of 2 figures drifted" in said
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "/sys/summary.md")
    result = run()
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["the summary could not be written to /sys/summary.md*"])
