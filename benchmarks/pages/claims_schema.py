"""Writes docs/evidence/claims.schema.json, the JSON Schema of claims.json, from the records of measurements.py."""

from __future__ import annotations

import json

from benchmarks.pages import evidence
from lib.judging.measurements import Session

SCHEMA = evidence.FOLDER / "claims.schema.json"


def schema() -> str:
    """The whole file. It describes what is written, so keys with a default are required too."""
    described = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return json.dumps(described | Session.model_json_schema(mode="serialization"), indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    SCHEMA.write_text(schema(), encoding="utf-8")
