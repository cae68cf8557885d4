"""Shares of a logit difference. Whoever asks for one asks here, whatever family the claim is of.

A part of nothing, or of a negative difference, is no share: its number may be anything. So where the model does not do
the task, no such claim is judged by its own figure, and all of them fail with that one reason.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import pytest
from torch import Tensor

from ioi_fixtures.sentences.prompts import Batch
from lib.judging.recorder import Recorder
from lib.judging.references import Reference, References
from lib.judging.statistics import Estimate, mean_over_prompts, ratio_of_means
from lib.models.activations import Run
from lib.models.model import Model
from lib.plugin.looks import is_last_look

NOT_JUDGED = "a share of it says nothing"


@dataclass(frozen=True, eq=False, repr=False)
class Whole:
    """A difference of logits, one value a prompt, that claims ask shares of. [batch]"""

    model: str
    what: str  # it is in words: "logit difference"
    difference: Tensor
    reference: Reference
    record: Recorder
    is_last: bool  # whether no look takes more prompts than this one

    @cached_property
    def mean(self) -> Estimate:
        """Over prompts."""
        return mean_over_prompts(self.difference)

    def share(self, part: Tensor) -> Estimate:
        """mean(part) / mean(difference), `part` [batch] on the same prompts.

        Fails the running claim where the mean is not above zero. Where more prompts may yet show that it is, the next
        look takes them: what leaves it open is recorded.
        """
        if self.mean.low > 0:
            return ratio_of_means(part, self.difference)
        if self.mean.high > 0 and not self.is_last:
            self.record(f"mean {self.what}", self.mean, self.reference)
        said = f"{self.model} does not do the task: mean {self.what} {self.mean}; {NOT_JUDGED}"
        return pytest.fail(said, pytrace=False)

    def __repr__(self) -> str:
        return f"<Whole: {self.what} of {self.model}, {len(self.difference)} prompts>"


@pytest.fixture(scope="session")
def as_whole(
    model: Model, published: References, record: Recorder, request: pytest.FixtureRequest
) -> Callable[[str, Tensor], Whole]:
    """From a difference of logits, in words and one value a prompt, to what shares of it are asked of."""
    reference, is_last = published["behaviour/anything-to-share"], is_last_look(request.config)
    return lambda what, difference: Whole(model.name, what, difference, reference, record, is_last)


@pytest.fixture(scope="session")
def whole(as_whole: Callable[[str, Tensor], Whole], ioi: Batch, ioi_run: Run) -> Whole:
    """F(M): the model's logit difference on the IOI prompts."""
    return as_whole("logit difference", ioi_run.logit_difference(ioi.answers))
