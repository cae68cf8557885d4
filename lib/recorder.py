"""Collects what claims measure, bound to the test that is running.

A claim calls `record(...)` and gets its estimate back, so its bare `assert estimate in reference` stays visible. What
was recorded travels in the test report's user properties as plain JSON, which survives xdist and JUnit.
"""

from __future__ import annotations

import pytest
from pydantic import BaseModel
from torch import Tensor

from lib.measurements import HeadMap, Subject, measurement
from lib.references import Reference
from lib.statistics import Estimate

PROPERTY = "claims:"  # user properties of ours are named claims:<record type>


class Recorder:
    """Records for the running test. Calling it records one estimate and returns it unchanged."""

    def __init__(self) -> None:
        self.item: pytest.Item | None = None

    def __call__(self, label: str, estimate: Estimate, reference: Reference) -> Estimate:
        self._add(measurement(self._running.nodeid, self._subject, label, estimate, reference))
        return estimate

    def head_map(self, title: str, unit: str, values: Tensor) -> None:
        """A figure for the report: `values` is [layer head]."""
        if values.ndim != 2:
            raise ValueError(f"a head map is [layer head], not {tuple(values.shape)}")
        if not bool(values.isfinite().all()):
            raise ValueError(f"{title}: {int((~values.isfinite()).sum())} values are not finite numbers")
        rows = [[round(value, 4) for value in row] for row in values.tolist()]
        self._add(HeadMap(test=self._running.nodeid, subject=self._subject, title=title, unit=unit, values=rows))

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
