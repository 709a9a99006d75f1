"""Whether tool calls are right: against the schema of the tool offered, and against the calls expected."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

Call = Mapping[str, Any]
Tool = Mapping[str, Any]
_STANDARD = {"dict": "object", "float": "number", "tuple": "array"}
"""The Berkeley leaderboard's types in JSON Schema's words; its `any` is no type at all."""


def function_of(tool: Tool) -> dict[str, Any]:
    """The function of an OpenAI tool, or of a bare function."""
    inner = tool.get("function")
    return dict(inner) if isinstance(inner, Mapping) else dict(tool)


def fault(call: Call, tools: Sequence[Tool]) -> str:
    """Why a call does not fit the tools offered, or nothing."""
    offered = {function_of(tool).get("name"): function_of(tool) for tool in tools}
    if call["name"] not in offered:
        return f"{call['name']} is not among the tools offered"
    return schema_fault(call["arguments"], standard(offered[call["name"]].get("parameters") or {}))


def standard(schema: Any) -> Any:
    """A schema in JSON Schema's own words, where it was written in Python's."""
    if isinstance(schema, list):
        return [standard(each) for each in schema]
    if not isinstance(schema, Mapping):
        return schema
    made = {key: standard(each) for key, each in schema.items() if not (key == "type" and each == "any")}
    return made | {"type": _STANDARD.get(made["type"], made["type"])} if isinstance(made.get("type"), str) else made


def schema_fault(value: Any, schema: Mapping[str, Any]) -> str:
    """Why a value does not fit a JSON Schema, or nothing. No reference is followed out of the schema."""
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError, best_match
    from jsonschema.validators import validator_for
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    kind: Any = validator_for(schema, default=Draft202012Validator)
    try:
        kind.check_schema(schema)
        error = best_match(kind(schema, registry=Registry()).iter_errors(value))
    except SchemaError as broken:
        return f"the tool's own schema is broken: {broken.message}"
    except Unresolvable as broken:
        return f"the tool's own schema points nowhere: {broken}"
    if error is None:
        return ""
    place = ".".join(str(part) for part in error.absolute_path)
    return f"{place}: {error.message}" if place else str(error.message)


def same_names(expected: Sequence[Call], got: Sequence[Call]) -> bool:
    """Whether the same tools are called equally often; parallel calls have no order."""
    return Counter(call["name"] for call in expected) == Counter(call["name"] for call in got)


def same_calls(expected: Sequence[Call], got: Sequence[Call], tools: Sequence[Tool]) -> bool:
    """Whether every expected call is made, with exactly its arguments, and no other.

    An argument left out equals one given at the schema's default. Being the same is transitive, so that taking the
    first match pairs the calls off as well as any matching would.
    """
    schemas = {function_of(tool).get("name"): function_of(tool).get("parameters") or {} for tool in tools}
    left = list(got)
    for call in expected:
        schema = schemas.get(call["name"], {})
        match = next((each for each in left if each["name"] == call["name"] and same(call["arguments"], each["arguments"], schema)), None)
        if match is None:
            return False
        left.remove(match)
    return not left


def rights(expected: Sequence[Call], got: Sequence[Call], tools: Sequence[Tool]) -> tuple[int, int]:
    """How many arguments are right, of all that are expected or given; a call without any counts as one."""
    schemas = {function_of(tool).get("name"): (function_of(tool).get("parameters") or {}).get("properties") or {} for tool in tools}
    left, right, count = list(got), 0, 0
    for call in sorted(expected, key=lambda call: not any(same_calls([call], [each], tools) for each in got)):
        alike = [each for each in left if each["name"] == call["name"]]
        match = min(alike, key=lambda each: not same_calls([call], [each], tools), default=None)
        if match is None:
            count += max(1, len(call["arguments"]))
            continue
        left.remove(match)
        inner = schemas.get(call["name"], {})
        wanted, given = _filled(call["arguments"], inner), _filled(match["arguments"], inner)
        keys = call["arguments"].keys() | match["arguments"].keys()
        right += sum(key in wanted and key in given and same(wanted[key], given[key], inner.get(key)) for key in keys) if keys else 1
        count += max(1, len(keys))
    return right, count + sum(max(1, len(call["arguments"])) for call in left)


def same(one: Any, other: Any, schema: Mapping[str, Any] | None = None) -> bool:
    """Whether two JSON values are the same: `1` is `1.0`, but true is not `1`, which Python says it is."""
    schema = schema if isinstance(schema, Mapping) else {}
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        inner = schema.get("properties") or {}
        one, other = _filled(one, inner), _filled(other, inner)
        return one.keys() == other.keys() and all(same(one[key], other[key], inner.get(key)) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(same(a, b, schema.get("items")) for a, b in zip(one, other, strict=True))
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    return bool(one == other)


def _filled(value: Mapping[str, Any], properties: Mapping[str, Any]) -> dict[str, Any]:
    defaults = {key: each["default"] for key, each in properties.items() if isinstance(each, Mapping) and "default" in each}
    return {**defaults, **value}


def difference(expected: Sequence[Call], got: Sequence[Call], tools: Sequence[Tool]) -> str:
    """What is wrong with the calls made, in a few words; nothing where they are the same."""
    if same_calls(expected, got, tools):
        return ""
    if not same_names(expected, got):
        return f"calls {_listed(got) or 'nothing'} instead of {_listed(expected)}"
    if len(expected) > 1:
        return "other arguments"
    wanted, given = expected[0]["arguments"], got[0]["arguments"]
    keys = [key for key in {**wanted, **given} if key not in given or key not in wanted or not same(wanted[key], given[key])]
    return "; ".join(f"{key}: {_shown(given, key)} instead of {_shown(wanted, key)}" for key in keys) or "other arguments"


def _listed(calls: Sequence[Call]) -> str:
    return ", ".join(call["name"] for call in calls)


def _shown(arguments: Mapping[str, Any], key: str) -> str:
    return repr(arguments[key]) if key in arguments else "nothing"
