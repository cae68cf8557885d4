"""docs/claims.schema.json is current, and says of a claims.json what the records say."""

import json
import re

import pytest
from jsonschema import Draft202012Validator, ValidationError

from benchmarks.pages.claims_schema import SCHEMA, schema
from lib.judging.baselines import compare
from lib.judging.measurements import Session, as_json
from tests.support.example_session import example_session

VALIDATOR = Draft202012Validator(json.loads(schema()))
COMPARED = example_session().model_copy(
    update={"drift": compare(example_session(), example_session(), name="kept.json")}
)
GUIDE = (SCHEMA.parents[1] / "CLAIMS_JSON.md").read_text(encoding="utf-8")


def test_the_file_is_what_the_records_say():
    assert SCHEMA.read_text(encoding="utf-8") == schema(), "run `make docs` and commit what it writes"
    Draft202012Validator.check_schema(json.loads(schema()))


@pytest.mark.parametrize("session", [example_session(), COMPARED], ids=["alone", "compared"])
def test_what_is_written_is_valid(session):
    VALIDATOR.validate(json.loads(as_json(session)))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("claims", 0, "outcome"), "green"),
        (("claims", 0, "measurements", 0, "value"), "0.97"),
        (("claims", 0, "measurements", 0, "per_prompt"), [None]),
        (("subjects", 0, "weights_hash"), None),
        (("surprise",), 1),
        (("drift",), {"baseline": "kept.json"}),
    ],
)
def test_what_the_records_do_not_allow_is_not_valid(path, value):
    written = json.loads(as_json(COMPARED))
    place = written
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(ValidationError):
        VALIDATOR.validate(written)


def test_a_key_that_is_missing_is_not_valid():
    written = json.loads(as_json(COMPARED))
    del written["selection"]
    with pytest.raises(ValidationError, match="selection"):
        VALIDATOR.validate(written)


def test_the_guide_names_every_record_and_key():
    definitions = json.loads(schema())["$defs"]
    described = set(re.findall(r"`(\w+)`", GUIDE))
    for name, record in {**definitions, "Session": Session.model_json_schema()}.items():
        assert name in described
        assert set(record["properties"]) <= described, name
