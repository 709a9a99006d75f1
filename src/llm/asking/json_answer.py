"""Read a model's answer as JSON of a given form, and as nothing else."""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from src.llm.asking.verdict import Unusable

_FENCED = re.compile(r"\A```(?:json)?\s*\n(.*?)\n?```\Z", re.DOTALL)


def value_of(said: str) -> Any:
    """The JSON value that the whole answer is, a code fence around it aside."""
    text = said.strip()
    if found := _FENCED.match(text):
        text = found[1]
    try:
        return json.loads(text, parse_constant=_refused)
    except (ValueError, RecursionError) as error:
        raise Unusable(f"it is not JSON and nothing else ({error})") from None


def _refused(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def checker(schema: Mapping[str, Any]) -> Callable[[Any], None]:
    """A function that raises `Unusable` for a value which does not fit the schema; nothing is fetched for a `$ref`."""
    from jsonschema.exceptions import best_match
    from jsonschema.validators import validator_for
    from referencing import Registry

    validator = validator_for(schema)(schema, registry=Registry())

    def check(value: Any) -> None:
        try:
            fault = best_match(validator.iter_errors(value))
        except RecursionError:
            raise Unusable("it is nested too deeply") from None
        if fault is not None:
            raise Unusable(f"at {fault.json_path}: {fault.message[:300]}")

    return check


def faults_of(schema: Mapping[str, Any]) -> str:
    """What is wrong with a schema itself, or nothing."""
    from jsonschema.exceptions import SchemaError
    from jsonschema.validators import validator_for

    try:
        validator_for(schema).check_schema(dict(schema))
    except SchemaError as error:
        return f"{error.json_path}: {error.message[:200]}"
    return ""
