"""Collects what claims measure, bound to the test that is running.

A claim calls `record(...)` and gets its estimate back, so its bare `assert estimate in reference` stays visible.
Records are kept as plain JSON, so that they can travel from a worker process; each figure also in plain words. What
runs tests says which one is `running`, and where its records go.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import BaseModel
from torch import Tensor

from lib.judging.drawings import Drawing, head_map
from lib.judging.measurements import Measurement, Shown, Subject, measurement
from lib.judging.references import Reference
from lib.judging.statistics import Estimate
from lib.judging.verdicts import in_words

NOTE = "Note"  # the kind of a record that is a sentence about the run
INSTEAD = "Instead"  # and of one that says what a model does that does not do what the claim says


class Inconclusive(Exception):
    """What keeps a claim from being decided, whatever it would measure, as one sentence with the remedy."""


@dataclass(frozen=True)
class Running:
    """The test that is running: its name, its subject's, and the lists that its records and their words go to."""

    test: str
    subject: str
    records: list[tuple[str, object]]  # type and plain JSON of each
    words: list[tuple[str, object]]  # label and sentence of each figure


class Recorder:
    """Records for the running test. Calling it records one estimate and returns it unchanged;
    calling it again with the same label keeps one of the two.

    prompts: the texts of the prompts that the running test is about. A figure of as many values gets its worst prompt
    from them; a figure of one drawn example brings its own. available: how many prompts there are at the most, where
    that is limited.
    """

    def __init__(self) -> None:
        self.running: Running | None = None
        self.prompts: Sequence[str] = ()
        self.available: int | None = None

    def __call__(self, label: str, estimate: Estimate, reference: Reference, *, worst_prompt: str = "") -> Estimate:
        test, subject = self._running.test, self._running.subject
        limits = {"worst_prompt": worst_prompt, "available": self.available}
        figure = measurement(test, subject, label, estimate, reference, **limits)
        if not worst_prompt and figure.worst is not None and len(figure.per_prompt) == len(self.prompts):
            figure = figure.model_copy(update={"worst_prompt": self.prompts[figure.worst]})
        self._keep_one(figure)
        return estimate

    def _keep_one(self, figure: Measurement) -> None:
        """A claim about drawn examples measures a figure once an example; the report shows one of them.

        That is the one nearest to an end of its band, or, where the claim does not hold, the last that does not:
        Hypothesis ends on the minimal failing example, which is the one it prints.
        """
        records, words, kind = self._running.records, self._running.words, type(figure).__name__
        for place, (other, value) in enumerate(records):
            if other == kind and value["label"] == figure.label:
                if figure.verdict != "pass" or figure.room < Measurement.model_validate(value).room:
                    records[place] = (kind, figure.model_dump(mode="json"))
                    words[:] = [(label, text) for label, text in words if label != figure.label]
                    words.append((figure.label, in_words(figure)))
                return
        self._add(figure)
        words.append((figure.label, in_words(figure)))

    def show(self, drawing: Drawing) -> None:
        """A drawing for the report, beside the figures of the running claim."""
        self._add(Shown(test=self._running.test, subject=self._running.subject, drawing=drawing))

    def head_map(self, title: str, unit: str, values: Tensor, *, first_layer: int = 0) -> None:
        """Show one value a head: `values` is [layer head]."""
        self.show(head_map(title, unit, values, first_layer=first_layer))

    def describe(self, subject: Subject) -> None:
        """What the running test has under test."""
        self._add(subject)

    def note(self, text: str) -> None:
        """What a reader of the report has to know of the run."""
        self._running.records.append((NOTE, text))

    def instead(self, text: str) -> None:
        """What the model does, in case it is not what the running claim says: a sentence for who reads why."""
        self._running.records.append((INSTEAD, text))

    @property
    def _running(self) -> Running:
        if self.running is None:
            raise RuntimeError("record() was called outside a running test: call it from the claim itself")
        return self.running

    def _add(self, record: BaseModel) -> None:
        self._running.records.append((type(record).__name__, record.model_dump(mode="json")))

    def __repr__(self) -> str:
        return "<record>"
