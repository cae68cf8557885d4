"""Known samples tell intervals that hold what they promise from intervals that do not."""

import pytest

from benchmarks.pages.spoilt import SPOILT
from ioi_fixtures.published import FOLDER
from lib.judging.coverage import KNOWN, share_of_intervals_that_hold
from lib.judging.references import read_references
from lib.judging.statistics import exact

BAND = read_references(FOLDER)["instruments/intervals"]


@pytest.mark.parametrize(
    ("fault", "told"),
    [("intervals_points", {"mean", "ratio", "correlation", "share"}), ("pairs_apart", {"correlation"})],
)
def test_broken_intervals_do_not_hold_it_as_often(fault, told, monkeypatch):
    """A ratio's interval is as wide with pairs apart: its width is that of the figure's own error, which keeps them."""
    SPOILT[fault].spoil(monkeypatch)
    found = {kind: exact(share_of_intervals_that_hold(kind)) in BAND for kind in KNOWN}
    assert {kind for kind, holds in found.items() if not holds} == told
