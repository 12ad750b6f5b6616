"""Schemas that what we write is held against."""

import json
from pathlib import Path

import jsonschema

_HERE = Path(__file__).parent
_EXCHANGE = _HERE.parents[2] / "docs" / "schemas" / "exchange.schema.json"
_HAR = _HERE / "har-1.2.schema.json"


def validator(path: Path) -> jsonschema.Draft202012Validator:
    schema = json.loads(path.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


EXCHANGE = validator(_EXCHANGE)
HAR = validator(_HAR)
