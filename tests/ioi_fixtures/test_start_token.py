"""Who says whether prompts begin with the start token: the option, else the circuit file or the prompt file."""

import json

import pytest

from ioi_fixtures.circuits.circuit_file import CircuitFile
from ioi_fixtures.pytest_fixtures.encoding import start_token


@pytest.fixture
def prompt_file(tmp_path):
    def write(bos):
        path = tmp_path / "prompts.json"
        path.write_text(json.dumps([{"prompt": "x", "io": "Mary", "s": "John", "bos": bos}]))
        return path

    return write


def circuit(bos):
    return CircuitFile("", (), bos)


def test_the_option_comes_first(prompt_file):
    assert start_token("yes", circuit(False), prompt_file(False)) is True
    assert start_token("no", circuit(True), None) is False


def test_else_whichever_file_says_so(prompt_file):
    assert start_token("auto", None, None) is None
    assert start_token("auto", circuit(True), None) is True
    assert start_token("auto", circuit(None), prompt_file(False)) is False
    assert start_token("auto", circuit(True), prompt_file(True)) is True


def test_two_files_that_differ_are_refused(prompt_file):
    with pytest.raises(ValueError, match="bos is True in the circuit file and False in .*: say --claims-bos yes or no"):
        start_token("auto", circuit(True), prompt_file(False))
