"""Whatever ends a run, its folder holds a whole earlier report or a whole partial one, and the run says which."""

import errno
import os
import signal
import subprocess
import time

import pytest

from lib.files import LOCK, check_writable, write_together, write_whole
from lib.judging.measurements import Session
from lib.reports import html_report
from tests.support.places import ROOT
from tests.support.warm_process import run_module, warm_python

EARLIER = "an earlier report"
CONFTEST = """import pytest
pytest_plugins = ["lib.plugin.pytest_plugin"]
@pytest.fixture(params=["toy"])
def subject(): pass
"""
CLAIMS = '''
import pathlib, time

def test_first(subject):
    """It holds."""

def test_waits(subject):
    """It takes long."""
    pathlib.Path("waiting").touch()
    time.sleep(60)

def test_last(subject):
    """It holds too."""
'''


@pytest.fixture
def project(tmp_path):
    """A folder with three claims, one of which waits, and the report of an earlier run."""
    for name, text in {"conftest.py": CONFTEST, "claims/test_toy.py": CLAIMS, "pytest.ini": "[pytest]\n"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "reports").mkdir()
    for name in ("claims.json", "claims.html"):
        (tmp_path / "reports" / name).write_text(EARLIER, encoding="utf-8")
    return tmp_path


def start(project, *arguments):
    """`pytest claims/` there, in a process of its own."""
    command = [warm_python(), "-m", "pytest", "claims/", "-p", "no:cacheprovider", "--claims-report", "reports"]
    command += arguments
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "200"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, cwd=project, env=environment, **pipes)


def ended(process):
    """Its exit status and everything it said."""
    said, _ = process.communicate(timeout=120)
    return process.returncode, said


def wait_until_it_waits(project, process):
    while not (project / "waiting").exists():
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)


def report(project):
    return Session.model_validate_json((project / "reports" / "claims.json").read_text(encoding="utf-8"))


def is_whole(page):
    return page.startswith("<!DOCTYPE html>") and page.rstrip().endswith("</html>")


def files(project):
    return sorted(path.name for path in (project / "reports").iterdir() if path.name != LOCK)


@pytest.mark.parametrize(
    ("number", "says"), [(signal.SIGINT, "stopped by Ctrl-C"), (signal.SIGTERM, "stopped by SIGTERM")]
)
def test_a_run_that_is_stopped_leaves_a_partial_report_that_says_so(number, says, project):
    process = start(project)
    wait_until_it_waits(project, process)
    process.send_signal(number)
    status, said = ended(process)
    assert status == pytest.ExitCode.INTERRUPTED, said
    assert f"The run ended early: {says}" in said
    assert [(claim.sentence, claim.outcome) for claim in report(project).claims] == [("It holds.", "passed")]
    assert report(project).ended == says
    page = (project / "reports" / "claims.html").read_text(encoding="utf-8")
    assert is_whole(page)
    assert "It holds." in page
    assert files(project) == ["claims.html", "claims.json"]


def test_a_run_that_is_killed_leaves_the_earlier_report(project):
    process = start(project)
    wait_until_it_waits(project, process)
    process.kill()
    ended(process)
    assert files(project) == ["claims.html", "claims.json"]
    for name in files(project):
        assert (project / "reports" / name).read_text(encoding="utf-8") == EARLIER


def test_where_the_disk_fills_the_earlier_report_stays_and_the_run_fails(project):
    full = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))\n"  # no file over half a kilobyte
    (project / "full_disk.py").write_text(full, encoding="utf-8")
    status, said = ended(start(project, "-k", "first", "-p", "full_disk"))
    assert status == pytest.ExitCode.TESTS_FAILED, said
    assert "1 passed" in said
    for name in ("claims.json", "claims.html"):
        kept = f"{name} could not be written (File too large): the file of an earlier run is still there"
        assert kept in said, said
        assert (project / "reports" / name).read_text(encoding="utf-8") == EARLIER
    assert files(project) == ["claims.html", "claims.json"]
    assert "INTERNALERROR" not in said
    assert "written: " not in said


def test_a_folder_that_cannot_be_written_to_is_told_before_any_claim_runs(project):
    folder = "/sys"  # not even root makes a file there
    command = ["pytest", "claims/", "-p", "no:cacheprovider", "--claims-report", folder]
    done = run_module(*command, folder=project, environment={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"})
    said = done.stdout + done.stderr
    assert done.returncode == pytest.ExitCode.USAGE_ERROR, said
    assert f"no report can be written to {folder}" in said
    assert "name another folder with --claims-report" in said
    assert not (project / "waiting").exists()


def test_two_runs_at_once_do_not_mix(project):
    runs = [start(project, "-k", name) for name in ("first", "last")]
    assert [ended(run)[0] for run in runs] == [0, 0]
    [claim] = report(project).claims
    assert claim.sentence == {"-k first": "It holds.", "-k last": "It holds too."}[report(project).selection]
    page = (project / "reports" / "claims.html").read_text(encoding="utf-8")
    assert is_whole(page)
    assert html_report.body(report(project)) in page
    assert files(project) == ["claims.html", "claims.json"]


def test_files_that_belong_together_are_of_one_process(tmp_path):
    slow = """
import sys, time
from pathlib import Path
from lib.files import write_together

rename = Path.replace

def slow(part, target):
    rename(part, target)
    time.sleep(1)

Path.replace = slow
write_together(Path(sys.argv[1]), {"a": "slow", "b": "slow"})
"""
    process = subprocess.Popen([warm_python(), "-c", slow, str(tmp_path)], env={**os.environ, "PYTHONPATH": str(ROOT)})
    while not (tmp_path / "a").exists():  # it has renamed one of its two
        assert process.poll() is None
        time.sleep(0.01)
    write_together(tmp_path, {"a": "quick", "b": "quick"})
    assert process.wait(timeout=60) == 0
    assert [(tmp_path / name).read_text() for name in "ab"] == ["quick", "quick"]


@pytest.mark.parametrize("fault", ["a folder in its place", "a text that cannot be written"])
def test_files_that_belong_together_are_written_all_or_none(fault, tmp_path):
    write_together(tmp_path, {"a": EARLIER, "b": EARLIER})
    if fault == "a folder in its place":
        (tmp_path / "b").unlink()
        (tmp_path / "b").mkdir()
    with pytest.raises((OSError, UnicodeEncodeError)):
        write_together(tmp_path, {"a": "later", "b": "\ud800" if fault.startswith("a text") else "later"})
    assert (tmp_path / "a").read_text(encoding="utf-8") == EARLIER
    assert sorted(path.name for path in tmp_path.iterdir()) == [LOCK, "a", "b"]


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_write_that_fails_leaves_what_was_there_and_nothing_else(error, tmp_path, monkeypatch):
    write_whole(tmp_path / "a.txt", EARLIER)

    def fails(descriptor):
        raise error

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(type(error)):
        write_whole(tmp_path / "a.txt", "later")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == EARLIER


def test_a_file_where_the_folder_should_be_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="exists"):
        check_writable(tmp_path / "file")
    check_writable(tmp_path / "new" / "folder")
    assert list((tmp_path / "new" / "folder").iterdir()) == []
