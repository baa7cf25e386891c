"""Judges the list of spans that it reads by zipkin.json, and ends with 1 and what is wrong if it
is none.
"""

import json
import pathlib
import sys

import jsonschema

schema = json.loads(pathlib.Path(__file__).with_suffix(".json").read_text())
jsonschema.Draft202012Validator.check_schema(schema)
judge = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())
wrong = [f"{error.json_path}: {error.message}" for error in judge.iter_errors(json.load(sys.stdin))]
sys.exit("\n".join(wrong) or 0)
