"""Collects what claims measure, bound to the test that is running.

A claim calls `record(...)` and gets its estimate back, so its bare `assert estimate in reference` stays visible. What
was recorded travels as plain JSON in an attribute of the test report, which survives the way from a worker process;
each figure is also a user property in plain words, which is what JUnit's XML shows.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from pydantic import BaseModel
from torch import Tensor

from lib.drawings import Drawing, head_map
from lib.measurements import Measurement, Shown, Subject, measurement
from lib.references import Reference
from lib.statistics import Estimate
from lib.verdicts import in_words

RECORDS = pytest.StashKey[list[tuple[str, object]]]()  # of an item: type and plain JSON of each of its records
OF_A_RUN = ("Measurement", "Shown", "Subject")  # the records that a test makes when it runs


class Recorder:
    """Records for the running test. Calling it records one estimate and returns it unchanged;
    calling it again with the same label keeps one of the two.

    prompts: the texts of the prompts that the running test is about. A figure of as many values gets its worst prompt
    from them; a figure of one drawn example brings its own.
    """

    def __init__(self) -> None:
        self.item: pytest.Item | None = None
        self.prompts: Sequence[str] = ()

    def __call__(self, label: str, estimate: Estimate, reference: Reference, *, worst_prompt: str = "") -> Estimate:
        test, subject = self._running.nodeid, self._subject
        figure = measurement(test, subject, label, estimate, reference, worst_prompt=worst_prompt)
        if not worst_prompt and figure.worst is not None and len(figure.per_prompt) == len(self.prompts):
            figure = figure.model_copy(update={"worst_prompt": self.prompts[figure.worst]})
        self._keep_one(figure)
        return estimate

    def _keep_one(self, figure: Measurement) -> None:
        """A claim about drawn examples measures a figure once an example; the report shows one of them.

        That is the one nearest to an end of its band, or, where the claim does not hold, the last that does not:
        Hypothesis ends on the minimal failing example, which is the one it prints.
        """
        item, kind = self._running, type(figure).__name__
        records = item.stash.setdefault(RECORDS, [])
        for place, (other, value) in enumerate(records):
            if other == kind and value["label"] == figure.label:
                if figure.verdict != "pass" or figure.room < Measurement.model_validate(value).room:
                    records[place] = (kind, figure.model_dump(mode="json"))
                    words = item.user_properties
                    words[:] = [(label, text) for label, text in words if label != figure.label]
                    words.append((figure.label, in_words(figure)))
                return
        self._add(figure)
        item.user_properties.append((figure.label, in_words(figure)))

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
        keep(self._running, type(record).__name__, record.model_dump(mode="json"))

    def __repr__(self) -> str:
        return "<record>"


def subject_name(item: pytest.Item) -> str:
    """The id of the subject that a test is parametrised with; empty where it has none."""
    callspec = getattr(item, "callspec", None)
    return str(callspec.params["subject"]) if callspec and "subject" in callspec.params else ""


def keep(item: pytest.Item, kind: str, record: object) -> None:
    """Add a record, plain JSON, to those that the item's reports will carry."""
    item.stash.setdefault(RECORDS, []).append((kind, record))


def attach(item: pytest.Item, report: pytest.TestReport) -> None:
    """Put an item's records so far into a report of it."""
    report.claim_records = list(item.stash.get(RECORDS, []))


def attached(report: pytest.TestReport | pytest.CollectReport, kind: str) -> list:
    """The records of one kind that a report carries, as plain JSON. Reports of collection errors carry none."""
    return [record for name, record in getattr(report, "claim_records", []) if name == kind]


def recorded(item: pytest.Item, kind: type[BaseModel]) -> list:
    """The records of one type that an item has made so far."""
    return [kind.model_validate(record) for name, record in item.stash.get(RECORDS, []) if name == kind.__name__]


def forget(item: pytest.Item) -> None:
    """Drop what an item recorded when it ran, which it is about to do again."""
    records = item.stash.get(RECORDS, [])
    records[:] = [(name, record) for name, record in records if name not in OF_A_RUN]
    item.user_properties.clear()


def records_of(report: pytest.TestReport | pytest.CollectReport, kind: type[BaseModel]) -> list:
    """The records of one type that a report carries."""
    return [kind.model_validate(record) for record in attached(report, kind.__name__)]
