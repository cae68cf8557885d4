"""The model that tests of identities and edits share."""

import pytest

from ioi_fixtures.controls.random_model import random_model
from lib.models.model import Model


@pytest.fixture(scope="module")
def small(on_one_thread: None) -> Model:
    """Of three layers of two heads, in float32; a file that needs another one has its own."""
    return random_model(n_layer=3, n_head=2, n_embd=16, dtype="float32")
