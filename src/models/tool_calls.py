"""Tool calls read back from what a model wrote, whichever of the common forms it was taught."""

import json
import re
from dataclasses import dataclass, field
from typing import Any

_HERMES = re.compile(r"<tool_call>(.*?)(</tool_call>|(?=<tool_call>)|\Z)", re.DOTALL)
_MISTRAL = "[TOOL_CALLS]"
_NAMED = re.compile(r"\s*([\w.\-]+)\s*(?:\[CALL_ID\]\s*\w+\s*)?(?:\[ARGS\])?\s*(?=\{)")
_PYTHON_TAG = "<|python_tag|>"
_ENDS = re.compile(r"(?:\s*<\|(?:eot_id|eom_id|im_end|end|endoftext)\|>|\s*</s>)+\s*\Z")
_KEYS = ("arguments", "parameters")


@dataclass(frozen=True)
class Parsed:
    """A model's answer, taken apart."""

    content: str | None
    """The words outside the calls, or None where there are none."""
    calls: list[dict[str, Any]] = field(default_factory=list)
    """Each call as `{"name": str, "arguments": dict}`, in the order written."""
    errors: list[str] = field(default_factory=list)
    """What was wrong with calls that were meant but cannot be read, or can only just."""


def parse(text: str) -> Parsed:
    """Read the tool calls in a model's answer; never raises.

    Understands `<tool_call>{…}</tool_call>` (Hermes, Qwen, ChatML), `{"name": …, "parameters": …}` alone or after
    `<|python_tag|>` (Llama 3.1), and `[TOOL_CALLS] [{…}]` or `[TOOL_CALLS]name{…}` (Mistral). JSON that names no tool is
    an answer like any other.
    """
    text = _ENDS.sub("", text)
    if "<tool_call>" in text:
        return _hermes(text)
    if _MISTRAL in text:
        content, _, rest = text.partition(_MISTRAL)
        return _collected(content, *_mistral(rest))
    content, tag, rest = text.partition(_PYTHON_TAG)
    if tag:
        return _collected(content, *_listed(rest))
    values, fault = _values(text)
    if values and not fault and all(_looks_like_call(each) for each in values):
        return _collected("", values, [])
    return _collected(text, [], [])


def _hermes(text: str) -> Parsed:
    values: list[Any] = []
    errors: list[str] = []
    for body, close in _HERMES.findall(text):
        found, faults = _listed(body)
        values += found
        errors += faults
        if not close:
            errors.append("<tool_call> is not closed")
    return _collected(_HERMES.sub("", text).replace("</tool_call>", ""), values, errors)


def _mistral(text: str) -> tuple[list[Any], list[str]]:
    """One JSON list of calls, or since version 11 of its tokenizer a name and its arguments, each with the mark before it."""
    values: list[Any] = []
    errors: list[str] = []
    for piece in text.split(_MISTRAL):
        if named := _NAMED.match(piece):
            found, faults = _listed(piece[named.end() :])
            values += [{"name": named[1], "arguments": each} for each in found]
        else:
            found, faults = _listed(piece)
            values += found
        errors += faults
    return values, errors


def _listed(text: str) -> tuple[list[Any], list[str]]:
    values, fault = _values(text)
    return values, [fault] if fault else []


def _values(text: str) -> tuple[list[Any], str]:
    """JSON values one after another, lists opened up, `;` and `,` between them passed over; and what stopped the reading."""
    found: list[Any] = []
    at, end = 0, len(text)
    while at < end:
        if text[at] in " \t\r\n;,":
            at += 1
            continue
        try:
            value, at = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            return found, f"not valid JSON: {_reason(error)}: {text.strip()[:80]!r}"
        found += value if isinstance(value, list) else [value]
    return found, "" if found else "a call without content"


def _reason(error: Exception) -> str:
    return error.msg if isinstance(error, json.JSONDecodeError) else str(error) or type(error).__name__


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON value")


# strict=False: small models write raw newlines into strings, and every server's parser lets them
_DECODER = json.JSONDecoder(strict=False, parse_constant=_no_constant)


def _looks_like_call(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("name"), str) and any(key in value for key in _KEYS)


def _collected(content: str, values: list[Any], errors: list[str]) -> Parsed:
    calls: list[dict[str, Any]] = []
    errors = list(errors)
    for value in values:
        call = _call(value)
        if isinstance(call, str):
            errors.append(call)
        else:
            calls.append(call)
    return Parsed(content.strip() or None, calls, errors)


def _call(value: Any) -> dict[str, Any] | str:
    """A call in one form, or what is wrong with it."""
    if isinstance(value, dict) and isinstance(value.get("function"), dict):
        value = value["function"]
    if not isinstance(value, dict) or not isinstance(value.get("name"), str) or not value["name"]:
        return f"a call without a name: {str(value)[:80]!r}"
    arguments: Any = next((value[key] for key in _KEYS if key in value), {})
    if isinstance(arguments, str):
        arguments = _from_string(arguments)
    if not isinstance(arguments, dict):
        return f"{value['name']}: arguments are no JSON object"
    return {"name": value["name"], "arguments": arguments}


def _from_string(text: str) -> Any:
    """Arguments that were written as JSON in a string, as OpenAI's API has them."""
    values, fault = _values(text)
    if fault:
        return {} if not text.strip() else None
    return values[0] if len(values) == 1 else None
