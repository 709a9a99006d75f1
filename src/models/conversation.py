"""What is wrong with a conversation whatever model learns it: turns, tool calls, tool results."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from jsonschema import exceptions, validators

ROLES = ("system", "user", "assistant", "tool")


@dataclass(frozen=True, slots=True)
class Fault:
    """Why an example cannot be learned from."""

    reason: str
    """A short fixed word such as `unknown_tool`, by which faults are counted."""
    detail: str = ""


def fault_in(messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] = ()) -> Fault | None:
    """Return the first fault of a conversation, or None where it can be learned from."""
    return next(faults_in(messages, tools), None)


def faults_in(messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] = ()) -> Iterator[Fault]:
    """Yield every fault: of the tools offered, of the turns, of the calls, of their results."""
    offered, wrong = schemas(tools)
    yield from wrong
    yield from turn_faults(messages)
    waiting: dict[str, str] = {}
    for number, message in enumerate(messages):
        if message.get("role") == "tool":
            yield from result_faults(message, number, waiting)
            continue
        if waiting:
            yield Fault("call_unanswered", f"message {number}: the call {next(iter(waiting))!r} has no result")
            waiting = {}
        for call in message.get("tool_calls") or ():
            yield from call_faults(call, number, offered)
            waiting[str(call.get("id") or len(waiting))] = str(_function(call).get("name"))


def turn_faults(messages: Sequence[Mapping[str, Any]]) -> Iterator[Fault]:
    """Roles and contents."""
    for number, message in enumerate(messages):
        role, content = message.get("role"), message.get("content")
        if role not in ROLES:
            yield Fault("unknown_role", f"message {number}: {role!r}")
        if content is not None and not isinstance(content, str):
            yield Fault("content_not_text", f"message {number}: {type(content).__name__}")
        elif not (content or "").strip() and role != "tool" and not message.get("tool_calls"):
            yield Fault("empty_message", f"message {number} ({role})")
        if role == "system" and number:
            yield Fault("system_not_first", f"message {number}")
    if not any(message.get("role") == "user" for message in messages):
        yield Fault("no_user", f"roles: {', '.join(str(message.get('role')) for message in messages) or 'none'}")
    if not messages or messages[-1].get("role") != "assistant":
        yield Fault("last_not_assistant", f"the last message is of {messages[-1].get('role')!r}" if messages else "no messages")


def call_faults(call: Mapping[str, Any], number: int, offered: Mapping[str, dict[str, Any]]) -> Iterator[Fault]:
    """One tool call against the tools offered."""
    name, arguments = _function(call).get("name"), _function(call).get("arguments")
    if not isinstance(name, str) or name not in offered:
        yield Fault("unknown_tool", f"message {number} calls {name!r}; offered: {', '.join(offered) or 'none'}")
        return
    if _encoded_twice(arguments):
        yield Fault("arguments_encoded_twice", f"message {number}: {name}: JSON in a string in a string")
        return
    if not isinstance(arguments, dict):
        yield Fault("arguments_not_object", f"message {number}: {name}: {type(arguments).__name__} {str(arguments)[:60]!r}")
        return
    error = exceptions.best_match(_validator(json.dumps(offered[name], sort_keys=True)).iter_errors(arguments))
    if error:
        at = "".join(f".{step}" for step in error.absolute_path)
        yield Fault("arguments_invalid", f"message {number}: {name}{at}: {error.message[:120]}")


def _encoded_twice(arguments: Any) -> bool:
    try:
        return isinstance(arguments, str) and isinstance(json.loads(arguments), str)
    except (ValueError, RecursionError):
        return False


def result_faults(message: Mapping[str, Any], number: int, waiting: dict[str, str]) -> Iterator[Fault]:
    """One tool result against the calls that wait for theirs; takes its call off `waiting`."""
    wanted = message.get("tool_call_id")
    if wanted is None and waiting:  # results without ids come in the order of the calls
        waiting.pop(next(iter(waiting)))
    elif wanted is None or waiting.pop(str(wanted), None) is None:
        yield Fault("tool_result_unmatched", f"message {number} answers {wanted!r}; waiting: {', '.join(waiting) or 'none'}")


def schemas(tools: Sequence[Mapping[str, Any]]) -> tuple[dict[str, dict[str, Any]], list[Fault]]:
    """Each offered tool's parameters by its name, and what is wrong with them."""
    offered: dict[str, dict[str, Any]] = {}
    wrong = []
    for number, tool in enumerate(tools):
        name = _function(tool).get("name")
        parameters = _function(tool).get("parameters") or {}
        if not isinstance(name, str) or not name:
            wrong.append(Fault("tool_invalid", f"tool {number} has no name"))
            continue
        if name in offered:
            wrong.append(Fault("tool_twice", name))
        if problem := _schema_problem(json.dumps(parameters, sort_keys=True)):
            wrong.append(Fault("tool_invalid", f"{name}: {problem}"))
            parameters = {}
        offered[name] = parameters
    return offered, wrong


def _function(call: Mapping[str, Any]) -> Mapping[str, Any]:
    inner = call.get("function", call)
    return inner if isinstance(inner, Mapping) else {}


@lru_cache(4096)
def _schema_problem(schema: str) -> str:
    parsed = json.loads(schema)
    if not isinstance(parsed, dict):
        return "parameters are no JSON Schema object"
    try:
        validators.validator_for(parsed, validators.Draft202012Validator).check_schema(parsed)
    except exceptions.SchemaError as error:
        return f"parameters are no JSON Schema: {error.message[:120]}"
    return ""


@lru_cache(4096)
def _validator(schema: str) -> Any:
    parsed = json.loads(schema)
    return validators.validator_for(parsed, validators.Draft202012Validator)(parsed)
