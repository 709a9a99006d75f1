"""How a chat template wants tool calls handed to it, found out by rendering one; templates differ and do not say."""

import hashlib
import itertools
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from jinja2 import TemplateError
from transformers.utils.chat_template_utils import render_jinja_template

BROKEN = (TemplateError, TypeError, ValueError, KeyError, AttributeError)
"""What a template raises on messages that it was not written for."""

_TOOL = {
    "type": "function",
    "function": {
        "name": "offered_tool",
        "description": "Probe.",
        "parameters": {"type": "object", "properties": {"probe": {"type": "string", "description": "Probe."}}, "required": ["probe"]},
    },
}


@dataclass(frozen=True)
class Dialect:
    """The form in which a template takes messages."""

    calls: bool = False
    """Whether tool calls are rendered at all."""
    tools: bool = False
    """Whether the tools offered are rendered at all."""
    arguments: str = "object"
    """`object`, or `string` where the template would print an object as Python does."""
    ids: str = "free"
    """`free`, or `nine` where only nine letters and digits pass for the id of a call."""
    content: str | None = None
    """What stands for the missing text beside a tool call."""
    several: bool = False
    """Whether several calls in one turn are rendered."""
    thoughts: bool = False
    """Whether a message's `reasoning_content` is rendered."""

    def messages(self, messages: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Put messages into this form; keys without a value are left out, for templates that only ask whether they are there."""
        return [self._message(message) for message in messages]

    def _message(self, message: Mapping[str, Any]) -> dict[str, Any]:
        made = {key: value for key, value in message.items() if value not in (None, [])}
        made["content"] = message.get("content")
        if calls := message.get("tool_calls"):
            made["content"] = made["content"] or self.content
            made["tool_calls"] = [self._call(call) for call in calls]
        elif made["content"] is None:
            made["content"] = ""
        if "tool_call_id" in made:
            made["tool_call_id"] = self._id(made["tool_call_id"])
        return made

    def _call(self, call: Mapping[str, Any]) -> dict[str, Any]:
        function = dict(call["function"])
        given = function["arguments"]
        if self.arguments == "string" and not isinstance(given, str):
            function["arguments"] = json.dumps(given, ensure_ascii=False)
        elif self.arguments == "object" and isinstance(given, str):  # as OpenAI's API has them
            function["arguments"] = _object(given)
        made = {"type": "function", **call, "function": function}
        return {**made, "id": self._id(made["id"])} if made.get("id") else made

    def _id(self, name: str) -> str:
        if self.ids == "free" or re.fullmatch(r"[a-zA-Z0-9]{9}", name):
            return name
        return hashlib.sha256(name.encode()).hexdigest()[:9]


@lru_cache(64)
def dialect(template: str, specials: tuple[tuple[str, str], ...]) -> Dialect:
    """Find the dialect of a template, given the special tokens by their names; the first form that renders well is taken."""
    hello = {"role": "user", "content": "Hello"}
    tools = "offered_tool" in _render(template, specials, [hello], [_TOOL])
    thought = {"role": "assistant", "content": "Done", "reasoning_content": "quicksilver"}
    thoughts = "quicksilver" in _render(template, specials, [hello, thought], None)
    choices = itertools.product(("object", "string"), ("free", "nine"), (None, ""))
    for arguments, ids, content in choices:
        made = Dialect(calls=True, tools=tools, arguments=arguments, ids=ids, content=content, thoughts=thoughts)
        if _well(_render(template, specials, made.messages(_called()), [_TOOL])):
            both = _render(template, specials, made.messages(_called(2)), [_TOOL])
            return replace(made, several=_well(both) and "second_tool" in both)
    return Dialect(tools=tools, thoughts=thoughts)


def _called(count: int = 1) -> list[dict[str, Any]]:
    names = ("called_tool", "second_tool")[:count]
    calls = [{"id": f"call_{name}", "type": "function", "function": {"name": name, "arguments": {"probe": "glass"}}} for name in names]
    return [
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": None, "tool_calls": calls},
        *({"role": "tool", "tool_call_id": f"call_{name}", "content": "found", "name": name} for name in names),
        {"role": "assistant", "content": "Done"},
    ]


def _object(arguments: str) -> Any:
    try:
        return json.loads(arguments)
    except (ValueError, RecursionError):
        return arguments


def _well(text: str) -> bool:
    """Whether name and arguments are there, neither as Python prints them nor as JSON inside a JSON string."""
    there = "called_tool" in text and "probe" in text and "glass" in text
    return there and "'probe'" not in text and '\\"probe' not in text and "None" not in text


def _render(
    template: str, specials: tuple[tuple[str, str], ...], messages: Sequence[dict[str, Any]], tools: list[dict[str, Any]] | None
) -> str:
    try:
        rendered, _ = render_jinja_template([messages], tools, chat_template=template, **dict(specials))
    except BROKEN:
        return ""
    return str(rendered[0])
