"""How a wrong config reads: pydantic's findings as `file:line: key: what is wrong; did you mean …?`."""

from collections.abc import Callable, Iterator
from typing import Any

from pydantic import BaseModel, ValidationError

from src.core.errors import did_you_mean
from src.core.layers import Fault, Keys, dotted


def faults(error: ValidationError, model: type[BaseModel], origin: Callable[[Keys], str]) -> Iterator[Fault]:
    """Turn the findings into faults; `origin` tells where the value at a key path came from."""
    schema = model.model_json_schema()
    findings = error.errors(include_url=False)
    for finding in findings:
        if finding["type"] == "too_short" and any(
            other["loc"][: len(finding["loc"])] == finding["loc"] != other["loc"] for other in findings
        ):
            continue  # its items are there, and faulty themselves
        keys, known = walk(schema, finding["loc"])
        where = origin(keys[:-1] if finding["type"] == "missing" and len(keys) > 1 else keys)
        yield Fault("config" if where == "default" else where, dotted(keys), wording(dict(finding), known))


def wording(finding: dict[str, Any], known: list[str]) -> str:
    """Say what is wrong in the words of someone who can mend it."""
    context = finding.get("ctx", {})
    match finding["type"]:
        case "extra_forbidden":
            return "no such key" + did_you_mean(str(finding["loc"][-1]), known)
        case "union_tag_invalid":
            tags = [tag.strip("' ") for tag in context["expected_tags"].split(",")]
            return f"no type {context['tag']!r}" + did_you_mean(context["tag"], tags)
        case "union_tag_not_found":
            return "says no `type`"
        case "missing":
            return "missing, and has no default"
        case "value_error":
            return str(context["error"])
        case "literal_error":
            choices = [choice.strip("' ") for choice in context["expected"].replace(" or ", ", ").split(",")]
            return f"{finding['input']!r} is no choice" + did_you_mean(str(finding["input"]), choices)
        case _:
            message = finding["msg"].removeprefix("Input ").replace("tuple", "list").replace("dictionary", "mapping")
            return f"{message[0].lower()}{message[1:]}, got {finding['input']!r:.80}"


def walk(schema: dict[str, Any], loc: Keys) -> tuple[Keys, list[str]]:
    """Follow `loc` down a JSON schema.

    Returns:
        The keys as YAML spells them, and the keys that may stand beside the last one.
    """
    node: dict[str, Any] = schema
    keys: list[str | int] = []
    siblings: list[str] = []
    for key in loc:
        node = resolve(schema, node)
        if tagged := node.get("discriminator", {}).get("mapping", {}).get(key):
            node = {"$ref": tagged}
        elif isinstance(key, int):
            keys.append(key)
            node = node.get("items", {})
        elif key in (properties := node.get("properties", {})) or properties:
            keys.append(key)
            siblings = list(properties)
            node = properties.get(key, {})
        elif "additionalProperties" in node or "patternProperties" in node:  # names of one's own, free or of a form
            keys.append(key)
            extra = next(iter(node.get("patternProperties", {}).values()), node.get("additionalProperties"))
            node = extra if isinstance(extra, dict) else {}
    return tuple(keys), siblings


def resolve(schema: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    """Open references, and of a choice with null the other one."""
    while True:
        if "$ref" in node:
            node = schema["$defs"][node["$ref"].rsplit("/", 1)[-1]]
        elif choices := [each for each in node.get("anyOf", []) if each.get("type") != "null"]:
            node = choices[0]
        elif len(node.get("allOf", [])) == 1:
            node = node["allOf"][0]
        else:
            return node
