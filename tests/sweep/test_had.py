"""Whether a model can be had, how large it is, and what is removed after it has been asked."""

import pytest
from huggingface_hub import constants
from huggingface_hub.utils import _cache_manager

from ioi_fixtures.trained import DIRECTORY
from lib.models.config import CannotLoad
from lib.sweep import had

HASH = "0123456789" * 4


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The hub's cache, empty."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(_cache_manager, "HF_HUB_CACHE", str(tmp_path), raising=False)
    return tmp_path


def fetch(cache, revision, commit=HASH):
    """What the hub leaves of me/m at a revision: its files, one of which other revisions share."""
    here = cache / "models--me--m"
    snapshot = here / "snapshots" / commit
    for folder in (snapshot, here / "blobs", here / "refs"):
        folder.mkdir(parents=True, exist_ok=True)
    (here / "refs" / revision).write_text(commit)
    for name, blob in {"config.json": "shared", "model.safetensors": commit}.items():
        (here / "blobs" / blob).write_text(blob)
        (snapshot / name).symlink_to(f"../../blobs/{blob}")
    return snapshot


def test_what_was_fetched_for_a_model_is_removed_after_and_what_others_share_stays(cache, monkeypatch):
    other = fetch(cache, "step1", HASH[::-1])
    monkeypatch.setattr(had, "locate", lambda source: fetch(cache, "step2"))
    with had.model("me/m@step2", built=False, drop=True):
        assert (cache / "models--me--m" / "snapshots" / HASH / "model.safetensors").is_file()
    assert not (cache / "models--me--m" / "snapshots" / HASH).exists()
    assert not (cache / "models--me--m" / "blobs" / HASH).exists()
    assert (other / "config.json").is_file()


@pytest.mark.parametrize("drop", [True, False])
def test_what_was_there_before_stays(drop, cache, monkeypatch):
    there = fetch(cache, "step2")
    monkeypatch.setattr(had, "locate", lambda source: there)
    with had.model("me/m@step2", built=False, drop=drop):
        pass
    assert (there / "model.safetensors").is_file()


def test_what_is_fetched_stays_unless_it_is_to_be_dropped(cache, monkeypatch):
    monkeypatch.setattr(had, "locate", lambda source: fetch(cache, "step2"))
    with had.model("me/m@step2", built=False, drop=False):
        pass
    assert (cache / "models--me--m" / "blobs" / HASH).is_file()


def test_a_subject_of_the_suite_is_not_looked_for():
    with had.model("planted", built=True, drop=True):
        pass


def test_the_size_of_a_directory_is_that_of_its_weights():
    assert had.size(str(DIRECTORY)) == (DIRECTORY / "model.safetensors").stat().st_size


def test_a_directory_that_is_not_there_has_no_size(tmp_path):
    with pytest.raises(CannotLoad, match="there is no directory"):
        had.size(str(tmp_path / "absent"))


def test_what_the_hub_does_not_have_cannot_be_had(cache, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(CannotLoad, match="check id and revision"):
        had.size("me/m@step3")


def test_weights_are_newer_where_they_were_written_again(tmp_path):
    (tmp_path / "config.json").touch()
    before = had.newest(str(tmp_path))
    assert int(before) > 0
    assert had.newest("me/m@step3") == ""
