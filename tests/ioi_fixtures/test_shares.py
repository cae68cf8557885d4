"""A share is asked of something, or not judged: where there is nothing to share, claims fail with one reason."""

import pytest
import torch

from ioi_fixtures.published import FOLDER
from ioi_fixtures.pytest_fixtures.shares import Whole
from lib.judging.recorder import Recorder, Running
from lib.judging.references import read_references
from lib.judging.statistics import ratio_of_means
from tests.support.places import CLAIMS, ROOT

ABOVE_ZERO = read_references(FOLDER)["behaviour/anything-to-share"]
SPREAD = torch.tensor([-1.0, 1.0] * 50)
NOTHING = "toy does not do the task: mean logit difference {}; a share of it says nothing"


def whole(difference, *, is_last=True):
    """What shares of a logit difference are asked of, and what the running claim has recorded."""
    recorder, records = Recorder(), []
    recorder.running = Running("test", "toy", records, [])
    return Whole("toy", "logit difference", difference, ABOVE_ZERO, recorder, is_last), records


def test_a_share_of_something_is_the_ratio_of_means():
    something, records = whole(1 + SPREAD)
    assert something.share(SPREAD) == ratio_of_means(SPREAD, 1 + SPREAD)
    assert records == []


@pytest.mark.parametrize("difference", [SPREAD - 3, SPREAD, 0.1 + SPREAD, 0 * SPREAD], ids=["negative", *"012"])
def test_every_share_of_nothing_fails_with_the_same_reason(difference):
    nothing, records = whole(difference)
    for part in (SPREAD, difference, 100 * SPREAD):
        with pytest.raises(pytest.fail.Exception) as failed:
            nothing.share(part)
        assert str(failed.value) == NOTHING.format(nothing.mean)
    assert records == []  # the claim fails: no figure leaves it inconclusive


@pytest.mark.parametrize(("difference", "left_open"), [(0.1 + SPREAD, True), (SPREAD - 3, False), (0 * SPREAD, False)])
def test_what_few_prompts_leave_open_is_left_to_the_next_look(difference, left_open):
    nothing, records = whole(difference, is_last=False)
    with pytest.raises(pytest.fail.Exception):
        nothing.share(SPREAD)
    assert [record["verdict"] for _, record in records] == ["inconclusive"] * left_open


def test_claims_divide_by_nothing_but_wholes_and_attention():
    """Attention is above zero in any model; whoever divides by something else has to think of where that is nothing."""
    files = [*CLAIMS.glob("*.py"), *(ROOT / "ioi_fixtures" / "pytest_fixtures").glob("*.py")]
    lines = [(file.name, line) for file in files for line in file.read_text("utf-8").splitlines()]
    calls = sorted((name, line.partition("ratio_of_means(")[2]) for name, line in lines if "ratio_of_means(" in line)
    assert calls == [
        ("shares.py", "part, self.difference)"),
        ("test_name_movers.py", "fresh, repeated), claim)"),
        ("test_s_inhibition.py", "after, before), claim)"),
    ]
