"""Whether calls are among those accepted, as the Berkeley leaderboard counts: types, alternatives, what may be left out, no order."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from src.eval.calls import Call, Tool, function_of, same
from src.eval.pairing import pairing

Accepted = Mapping[str, Mapping[str, Sequence[Any]]]
"""One call in the leaderboard's form: `{name: {argument: [values]}}`; an empty string among them lets the argument be left out."""
_PASSED_OVER = re.compile(r"[ ,./\-_*^]")
_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "float": (int, float),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "tuple": (list,),
    "dict": (dict,),
    "object": (dict,),
    "null": (type(None),),
}


def accepted_of(call: Call) -> Accepted:
    """The form for a call of which nothing but itself is accepted."""
    return {call["name"]: {key: [_lifted(value)] for key, value in call["arguments"].items()}}


def one_of(accepted: Accepted, tools: Sequence[Tool] = ()) -> dict[str, Any]:
    """A call that is accepted: the first value of each argument, and none that may be left out unless its schema requires it."""
    [(name, wanted)] = accepted.items()
    schema = next((function.get("parameters") or {} for tool in tools if (function := function_of(tool)).get("name") == name), {})
    required = schema.get("required") or ()
    kept = {key: [each for each in values if each != ""] for key, values in wanted.items() if "" not in values or key in required}
    return {"name": name, "arguments": {key: _first(values[0]) for key, values in kept.items() if values}}


def _lifted(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: [_lifted(each)] for key, each in value.items()}
    return [_lifted(each) for each in value] if isinstance(value, list) else value


def mismatch(accepted: Sequence[Accepted], got: Sequence[Call], tools: Sequence[Tool]) -> str:
    """What keeps the calls made from being those accepted, each once and in any order; nothing where they are.

    Follows `ast_checker` of bfcl-eval 2026.3.23 for Python, but pairs parallel calls off as well as can be, looks into
    nested values to any depth, and takes an argument left out for one given at the schema's default.
    """
    if len(accepted) != len(got):
        return f"count: {len(got)} calls instead of {len(accepted)}"
    faults = [[_call_mismatch(each, call, tools) for call in got] for each in accepted]
    partners = pairing([[not fault for fault in row] for row in faults])
    lonely = [row for row, partner in zip(faults, partners, strict=True) if partner is None]
    return min(filter(None, lonely[0]), key=lambda fault: fault.startswith("name:")) if lonely else ""


def _call_mismatch(accepted: Accepted, call: Call, tools: Sequence[Tool]) -> str:
    [(name, wanted)] = accepted.items()
    if call["name"] not in (name, name.replace(".", "_")):  # OpenAI's API takes no dot in a name
        return f"name: {call['name']} instead of {name}"
    schema = next((function.get("parameters") or {} for tool in tools if (function := function_of(tool)).get("name") == name), {})
    given, properties = call["arguments"], schema.get("properties") or {}
    for key in schema.get("required") or ():
        if key not in given:
            return f"missing: {key}"
    return next((fault for key, value in given.items() if (fault := _argument_mismatch(key, value, wanted, properties))), "") or next(
        (f"missing: {key}" for key, values in wanted.items() if key not in given and not _optional(values, properties.get(key))), ""
    )


def _argument_mismatch(key: str, value: Any, wanted: Mapping[str, Sequence[Any]], properties: Mapping[str, Any]) -> str:
    schema = properties.get(key) or {}
    values = wanted.get(key, [""])  # one that is not even named may be left out
    typed = is_of_type(value, schema)
    if typed and _optional(values, schema) and "default" in schema and same(value, schema["default"], schema):
        return ""
    if key not in wanted:
        return f"extra: {key}"
    # an answer may be of another type than its own schema asks for
    if not typed and not any(type(value) is type(each) and each != "" and not is_of_type(_first(each), schema) for each in values):
        return f"type: {key}: {value!r} is no {schema.get('type')}"
    return "" if _is_among(value, values, schema) else f"value: {key}: {value!r} is none of {list(values)!r}"


def is_of_type(value: Any, schema: Mapping[str, Any]) -> bool:
    """Whether a value has its schema's type at every depth; a whole number will do for a float, but true is no number."""
    kinds = schema.get("type")
    if not kinds or kinds == "any":
        return True
    types = [each for kind in ([kinds] if isinstance(kinds, str) else kinds) for each in _TYPES.get(kind, (object,))]
    if (isinstance(value, bool) and not {bool, object} & set(types)) or not isinstance(value, tuple(types)):
        return False
    if isinstance(value, list):
        return all(is_of_type(each, schema.get("items") or {}) for each in value)
    properties = schema.get("properties") or {}
    return not isinstance(value, dict) or all(is_of_type(each, properties.get(key) or {}) for key, each in value.items())


def _first(accepted: Any) -> Any:
    """One of the values that an accepted one stands for."""
    if isinstance(accepted, Mapping):
        found = {key: values[0] if isinstance(values, list) and values else values for key, values in accepted.items()}
        return {key: _first(value) for key, value in found.items() if value != ""}
    return [_first(each) for each in accepted] if isinstance(accepted, list) else accepted


def _optional(values: Sequence[Any], schema: Mapping[str, Any] | None) -> bool:
    schema = schema or {}
    return "" in values or ("default" in schema and _is_among(schema["default"], values, schema))


def _is_among(value: Any, values: Sequence[Any], schema: Mapping[str, Any]) -> bool:
    return any(_matches(value, each, schema) for each in values)


def _matches(value: Any, accepted: Any, schema: Mapping[str, Any]) -> bool:
    if isinstance(accepted, Mapping):
        return isinstance(value, Mapping) and _matches_object(value, accepted, schema.get("properties") or {})
    if isinstance(accepted, list):
        items = schema.get("items") or {}
        return (
            isinstance(value, list)
            and len(value) == len(accepted)
            and all(_matches(each, want, items) for each, want in zip(value, accepted, strict=True))
        )
    if isinstance(accepted, str):
        return value == [] if isinstance(value, list) and not accepted else isinstance(value, str) and _plain(value) == _plain(accepted)
    return same(value, accepted)


def _matches_object(value: Mapping[str, Any], accepted: Mapping[str, Any], properties: Mapping[str, Any]) -> bool:
    wanted = {key: values if isinstance(values, list) else [values] for key, values in accepted.items()}
    if any(_argument_mismatch(key, each, wanted, properties) for key, each in value.items()):
        return False
    return all(key in value or _optional(values, properties.get(key)) for key, values in wanted.items())


def _plain(text: str) -> str:
    """Case, blanks and the punctuation of dates and addresses make no other answer."""
    return _PASSED_OVER.sub("", text).lower().replace("'", '"')
