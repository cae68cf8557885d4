"""Whether a model can be had, how large it is, and a model that is there while it is asked and gone afterwards.

What is on the hub is fetched into its cache, once a machine: the cache's own locks see to that. Nothing is read of a
model but its configuration.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lib.models.config import CannotLoad, is_path, locate, stored_files


@contextmanager
def model(source: str, *, built: bool, drop: bool) -> Iterator[None]:
    """While the block lasts, the model is on this machine. Raises CannotLoad where it cannot be had.

    built: the suite builds it, so there is nothing to find. drop: what had to be fetched for this is removed after.
    """
    if built:
        yield
        return
    fetched = drop and not _is_directory(source) and not _is_cached(source)
    locate(source)
    try:
        yield
    finally:
        if fetched:
            _drop(source)


def size(source: str) -> int:
    """Bytes of its weights, without fetching them: of the files here, or as the hub says. Raises CannotLoad."""
    if _is_directory(source) or _is_cached(source):
        return sum(path.stat().st_size for path in stored_files(locate(source)))
    from huggingface_hub import HfApi  # imported here: only a hub name needs it

    id, _, revision = source.partition("@")
    try:
        info = HfApi().model_info(id, revision=revision or None, files_metadata=True)
    except Exception as error:  # no network, no such model, no such revision, no access
        raise CannotLoad(
            f"{source!r} is no directory, is not in the local cache, and the hub does not have it or cannot be reached "
            f"({type(error).__name__}): check id and revision"
        ) from error
    found = {one.rfilename: one.size or 0 for one in info.siblings or () if one.rfilename.endswith(".safetensors")}
    if not found:
        raise CannotLoad(f"{source!r} has no *.safetensors, and only those are loaded")
    return sum(found.values())


def newest(source: str) -> str:
    """When the weights or the configuration of a directory were last written, in seconds; empty for what is none."""
    if not _is_directory(source):
        return ""
    folder = Path(source).expanduser()
    times = [path.stat().st_mtime for path in (*folder.glob("*.safetensors"), *folder.glob("config.json"))]
    return str(int(max(times, default=0)))


def _is_directory(source: str) -> bool:
    return is_path(source) or Path(source).expanduser().is_dir()


def _is_cached(source: str) -> bool:
    from huggingface_hub import try_to_load_from_cache

    id, _, revision = source.partition("@")
    try:
        return isinstance(try_to_load_from_cache(id, "config.json", revision=revision or None), str)
    except ValueError:  # no model can be called that, which whoever looks for it says better
        return False


def _drop(source: str) -> None:
    """Remove one revision from the hub's cache, and of its files what no other revision there has."""
    from huggingface_hub import scan_cache_dir

    id, _, revision = source.partition("@")
    cache = scan_cache_dir()
    hashes = [
        one.commit_hash
        for repo in cache.repos
        if repo.repo_id == id
        for one in repo.revisions
        if one.commit_hash == revision or (revision or "main") in one.refs
    ]
    cache.delete_revisions(*hashes).execute()
