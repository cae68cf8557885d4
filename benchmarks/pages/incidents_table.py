"""Writes docs/evidence/INCIDENTS.md from docs/incidents.toml: what happened, how it is recreated, what catches it.

tests/whole_suite/test_incidents.py recreates every incident and compares what failed with the table, so nothing is
written there that no test has shown.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from benchmarks.pages import evidence

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SOURCE = evidence.ROOT / "docs" / "incidents.toml"
NAME = "INCIDENTS.md"
HEAD = """# Silent regressions that have happened, and what catches them

From [incidents.toml](../incidents.toml). In each of these a library stayed importable and, mostly, its logits right,
while what tools report changed. tests/whole_suite/test_incidents.py recreates them on the installed TransformerLens by
patching the library (those of nnsight, from 43 on, by asking it as its users do), on a small random model or on the
reference model's tokenizer, and fails where the set of checks that then fail is not the one in the last column. Claims
are those of claims/test_instruments.py, by the names of their tests; `leaves_no_trace` is the fixture that compares
every model before and after; `every_hook_fires_once` stands for a run that is refused because a hook did not fire, so
that no claim that runs the model can pass; `encode` and `check_backend` refuse before anything runs.

"""


class Incident(BaseModel):
    """One row. It is either recreated and caught, or says why it is not recreated."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    what: str
    reference: str
    recreated: str = ""
    caught_by: tuple[str, ...] = ()
    not_recreated: str = ""


def read_incidents() -> tuple[Incident, ...]:
    """Every incident. Raises ValueError for one that says neither or both of how it is caught and why it is not."""
    rows = tomllib.loads(SOURCE.read_text(encoding="utf-8"))["incident"]
    incidents = tuple(Incident.model_validate(row) for row in rows)
    for incident in incidents:
        if bool(incident.recreated and incident.caught_by) == bool(incident.not_recreated):
            raise ValueError(f"incident {incident.id}: give recreated and caught_by, or not_recreated")
    return incidents


def table(incidents: tuple[Incident, ...]) -> str:
    """The whole of INCIDENTS.md."""
    recreated = [incident for incident in incidents if incident.recreated]
    others = [incident for incident in incidents if incident.not_recreated]
    return HEAD + "\n".join(
        [
            f"## Recreated ({_count(recreated)} of {_count(incidents)})\n",
            *_lines(
                ("", "incident", "reference", "recreated here", "caught by"),
                [
                    (one.id, one.what, one.reference, one.recreated, ", ".join(f"`{name}`" for name in one.caught_by))
                    for one in recreated
                ],
            ),
            "\n## Not recreated\n",
            *_lines(
                ("", "incident", "reference", "why not"),
                [(one.id, one.what, one.reference, one.not_recreated) for one in others],
            ),
            "",
        ]
    )


def _count(incidents: Sequence[Incident]) -> int:
    """How many incidents; one that was two things, "27" and "27 (TL#385)", counts once."""
    return len({one.id.split()[0] for one in incidents})


def _lines(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (head, ("---",) * len(head), *rows)]


if __name__ == "__main__":
    evidence.write(NAME, table(read_incidents()), command="make docs")
