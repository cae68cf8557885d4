"""Records of pytest's tests: kept with an item while it runs, and carried by its reports, also from a worker process.

What was recorded is plain JSON in an attribute of the test report; each figure is also a user property in plain words,
which is what JUnit's XML shows.
"""

from __future__ import annotations

import pytest
from pydantic import BaseModel

from lib.judging.recorder import INSTEAD, NOTE, Running

RECORDS = pytest.StashKey[list[tuple[str, object]]]()  # of an item: type and plain JSON of each of its records
OF_A_RUN = ("Measurement", "Shown", "Subject", INSTEAD, NOTE)  # the records that a test makes when it runs


def running(item: pytest.Item) -> Running:
    """The item as a recorder knows it."""
    return Running(item.nodeid, subject_name(item), item.stash.setdefault(RECORDS, []), item.user_properties)


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
