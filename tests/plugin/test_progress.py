"""Slow fixtures are told of at a terminal, erased afterwards, and never written into a pipe."""

import io
import os
import pty
import subprocess
import time

import pytest

from lib.plugin import progress
from tests.support.places import ROOT
from tests.support.warm_process import warm_python

pytest_plugins = ["pytester"]


@pytest.fixture
def _impatient(monkeypatch):
    monkeypatch.setattr(progress, "PATIENCE", 0.01)
    monkeypatch.setattr(progress, "EVERY", 0.01)


@pytest.mark.usefixtures("_impatient")
def test_a_slow_computation_is_named_and_erased():
    file = io.StringIO()
    with progress.waiting(file, "paths to logits", 80):
        time.sleep(0.2)
    said = file.getvalue()
    assert said.startswith(progress.SAVE + progress.RESTORE_AND_ERASE + " computing paths to logits, 0 s")
    assert said.endswith(progress.RESTORE_AND_ERASE)


@pytest.mark.usefixtures("_impatient")
def test_it_keeps_to_its_columns():
    for free, words in ((6, " compu"), (-3, "")):
        file = io.StringIO()
        with progress.waiting(file, "paths", free):
            time.sleep(0.1)
        lines = set(file.getvalue().replace(progress.SAVE, "").split(progress.RESTORE_AND_ERASE))
        assert lines == {"", words}


def test_what_is_quick_is_not_mentioned():
    file = io.StringIO()
    with progress.waiting(file, "paths", 80):
        pass
    assert file.getvalue() == ""


def test_it_ends_where_the_computation_fails():
    file = io.StringIO()
    with pytest.raises(OSError, match="no"), progress.waiting(file, "paths", 80):
        raise OSError("no")
    assert file.getvalue() == ""


def test_nothing_is_said_in_a_pipe(pytester):
    pytester.makeconftest('pytest_plugins = ["lib.plugin.pytest_plugin"]\n')
    pytester.makepyfile(
        "from lib.plugin import progress\ndef test_it(pytestconfig):\n"
        "    assert not pytestconfig.pluginmanager.has_plugin('claims-progress')\n"
    )
    pytester.runpytest().assert_outcomes(passed=1)


def test_it_is_said_at_a_terminal_and_not_captured(pytester):
    pytester.makeconftest('pytest_plugins = ["lib.plugin.pytest_plugin"]\n')
    pytester.makepyfile(
        """
        import time, pytest
        from lib.plugin import progress
        progress.PATIENCE = progress.EVERY = 0.01

        @pytest.fixture(scope="module")
        def slow_sum():
            time.sleep(0.3)

        def test_it(slow_sum, capfd):
            print("done")
            assert capfd.readouterr().out == "done\\n"
        """
    )
    ours, theirs = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", "CI": ""}
    command = [warm_python(), "-m", "pytest", "-p", "no:cacheprovider"]
    with subprocess.Popen(command, cwd=pytester.path, env=environment, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        said = b"".join(iter(lambda: read(ours), b"")).decode()
    assert process.returncode == 0, said
    assert " computing slow sum, 0 s" in said


def read(terminal):
    """What was written to a terminal; nothing once its other end is closed, which Linux tells as an error."""
    try:
        return os.read(terminal, 4096)
    except OSError:
        return b""
