"""Collects what claims measure, bound to the test that is running.

A claim calls `record(...)` and gets its estimate back, so its bare `assert estimate in reference` stays visible. What
was recorded travels in the test report's user properties as plain JSON, which survives xdist and JUnit.
"""

from __future__ import annotations

import pytest
from pydantic import BaseModel
from torch import Tensor

from lib.measurements import HeadMap, Measurement, Subject, measurement
from lib.references import Reference
from lib.statistics import Estimate

PROPERTY = "claims:"  # user properties of ours are named claims:<record type>


class Recorder:
    """Records for the running test. Calling it records one estimate and returns it unchanged;
    calling it again with the same label keeps one of the two."""

    def __init__(self) -> None:
        self.item: pytest.Item | None = None

    def __call__(self, label: str, estimate: Estimate, reference: Reference, *, example: str = "") -> Estimate:
        figure = measurement(self._running.nodeid, self._subject, label, estimate, reference, example=example)
        self._keep_one(figure)
        return estimate

    def _keep_one(self, figure: Measurement) -> None:
        """A claim about drawn examples measures a figure once an example; the report shows one of them.

        That is the one nearest to an end of its band, or, where the claim does not hold, the last that does not:
        Hypothesis ends on the minimal failing example, which is the one it prints.
        """
        properties = self._running.user_properties
        for place, (kind, value) in enumerate(properties):
            if kind == PROPERTY + "Measurement" and value["label"] == figure.label:
                if figure.verdict != "pass" or figure.room < Measurement.model_validate(value).room:
                    properties[place] = (kind, figure.model_dump(mode="json"))
                return
        self._add(figure)

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
