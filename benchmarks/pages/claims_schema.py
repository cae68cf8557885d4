"""Writes the JSON Schemas of claims.json and of a sweep's sweep.json into docs/evidence/, from the records of
measurements.py and of lib/sweep/records.py."""

from __future__ import annotations

import json

from pydantic import BaseModel

from benchmarks.pages import evidence
from lib.judging.measurements import Session
from lib.sweep.records import Sweep

SCHEMA = evidence.FOLDER / "claims.schema.json"
OF_SWEEPS = evidence.FOLDER / "sweep.schema.json"


def schema(of: type[BaseModel] = Session) -> str:
    """The whole file. It describes what is written, so keys with a default are required too."""
    described = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return json.dumps(described | of.model_json_schema(mode="serialization"), indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    SCHEMA.write_text(schema(), encoding="utf-8")
    OF_SWEEPS.write_text(schema(Sweep), encoding="utf-8")
