"""Which claims can be asked of a model at all: what names heads or streams that it does not have is set aside, by name.

Out of scope: what the reader is told of a whole session, and other reasons to leave a claim out (`selection`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from ioi_fixtures.pytest_fixtures.subjects import Subject
from lib.models.activations import SITES, sites_of
from lib.models.architecture import architecture_of
from lib.models.config import CannotLoad, family_of, read_config
from lib.plugin.item_records import subject_name

NOT_GPT2 = (
    "{names}: {count} claims name GPT-2 small's heads, and this is no GPT-2 of at least 12 layers of 12 heads; to "
    "claim something of its own heads, write a circuit file (--claims-circuit)"
)
NO_SUCH_STREAM = "{names}: {claims} about a stream between attention and MLP, which are parallel here"
READ_ONLY = "{names}: {claims} about edits of an activation that the hooking library only shows, and does not use"
NOT_PARALLEL = "{names}: {claims} about an MLP beside attention, and here it comes after it"
BESIDE = "test_heads_do_not_reach_the_mlp_beside_them"
EDITS = "test_every_edit_has_the_effect_it_has_in_plain_tensors"

Unwanted = Callable[[pytest.Item], bool]


def names_other_heads(item: pytest.Item) -> bool:
    """A claim without `@pytest.mark.any_model`."""
    return bool(subject_name(item)) and item.get_closest_marker("any_model") is None


def what_does_not_apply(one: Subject, of_it: list[pytest.Item], *, stated: bool) -> Iterator[tuple[Unwanted, str]]:
    """Which of the claims that are to be asked of a subject cannot be, and what is said of them.

    stated: whether a circuit file is there. Raises CannotLoad where the subject cannot be had, and where nothing is
    left to ask.
    """
    config = read_config(one.directory())
    if not stated and not one.is_shaped_like_gpt2():
        if all(map(names_other_heads, of_it)):
            raise CannotLoad(NOT_GPT2.format(names=one.name, count=len(of_it)))
        yield names_other_heads, NOT_GPT2
    architecture = architecture_of(family_of(config), config)
    absent = {*SITES} - {*sites_of(architecture)}
    yield lambda item: _site(item) in absent, NO_SUCH_STREAM
    if not architecture.parallel:
        yield lambda item: item.name.startswith(BESIDE), NOT_PARALLEL
    shown = family_of(config).read_only
    yield lambda item: _site(item) in shown and item.name.startswith(EDITS), READ_ONLY


def _site(item: pytest.Item) -> str | None:
    return item.callspec.params.get("site") if hasattr(item, "callspec") else None
