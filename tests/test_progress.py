"""Slow fixtures are told of at a terminal, erased afterwards, and never written into a pipe."""

import io
import time

import pytest

from lib import progress

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
    pytester.makeconftest('pytest_plugins = ["lib.pytest_plugin"]\n')
    pytester.makepyfile(
        "from lib import progress\ndef test_it(pytestconfig):\n"
        "    assert not pytestconfig.pluginmanager.has_plugin('claims-progress')\n"
    )
    pytester.runpytest().assert_outcomes(passed=1)
