"""Collects what claims measure, bound to the test that is running.

A claim calls `record(...)` and gets its estimate back, so its bare `assert estimate in reference` stays visible. What
was recorded travels in the test report's user properties as plain JSON, which survives xdist and JUnit.
"""

from __future__ import annotations

import pytest
from pydantic import BaseModel
from torch import Tensor

from lib.drawings import Drawing, head_map
from lib.measurements import Shown, Subject, measurement
from lib.references import Reference
from lib.statistics import Estimate

PROPERTY = "claims:"  # user properties of ours are named claims:<record type>


class Recorder:
    """Records for the running test. Calling it records one estimate and returns it unchanged."""

    def __init__(self) -> None:
        self.item: pytest.Item | None = None

    def __call__(self, label: str, estimate: Estimate, reference: Reference, *, worst_prompt: str = "") -> Estimate:
        test, subject = self._running.nodeid, self._subject
        self._add(measurement(test, subject, label, estimate, reference, worst_prompt=worst_prompt))
        return estimate

    def show(self, drawing: Drawing) -> None:
        """A drawing for the report, beside the figures of the running claim."""
        self._add(Shown(test=self._running.nodeid, subject=self._subject, drawing=drawing))

    def head_map(self, title: str, unit: str, values: Tensor) -> None:
        """Show one value a head: `values` is [layer head]."""
        self.show(head_map(title, unit, values))

    def describe(self, subject: Subject) -> None:
        """What the running test has under test."""
        self._add(subject)

    @property
    def _running(self) -> pytest.Item:
        if self.item is None:
            raise RuntimeError("record() was called outside a running test: call it from the claim itself")
        return self.item

    @property
    def _subject(self) -> str:
        return subject_name(self._running)

    def _add(self, record: BaseModel) -> None:
        kind = type(record).__name__
        self._running.user_properties.append((PROPERTY + kind, record.model_dump(mode="json")))

    def __repr__(self) -> str:
        return "<record>"


def subject_name(item: pytest.Item) -> str:
    """The id of the subject that a test is parametrised with; empty where it has none."""
    callspec = getattr(item, "callspec", None)
    return str(callspec.params["subject"]) if callspec and "subject" in callspec.params else ""


def records_of(report: pytest.TestReport, kind: type[BaseModel]) -> list:
    """The records of one type that a test report carries. Reports of collection errors carry none."""
    properties = getattr(report, "user_properties", [])
    return [kind.model_validate(value) for name, value in properties if name == PROPERTY + kind.__name__]
