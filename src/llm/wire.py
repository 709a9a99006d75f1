"""Messages in the form that OpenAI's API has them on the wire, and back."""

import json
from collections.abc import Iterable, Mapping
from typing import Any


def on_the_wire(message: Mapping[str, Any]) -> dict[str, Any]:
    """A message as clients send it: the arguments of tool calls are JSON in a string."""
    made = dict(message)
    if calls := message.get("tool_calls"):
        made["tool_calls"] = [{"type": "function", **call, "function": _spelled(call["function"])} for call in calls]
    return made


def _spelled(function: Mapping[str, Any]) -> dict[str, Any]:
    arguments = function["arguments"]
    return {**function, "arguments": arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)}


def as_text(content: str | None, calls: Iterable[Any]) -> str:
    """What a model said with its tool calls, as the text that most models write them in; broken arguments stay broken."""
    spelled = [
        f'<tool_call>\n{{"name": {json.dumps(each.function.name)}, "arguments": {each.function.arguments or "{}"}}}\n</tool_call>'
        for each in calls
        if each.function
    ]
    return "\n".join([*([content] if content else []), *spelled])
