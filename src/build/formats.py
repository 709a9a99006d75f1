"""The formats in which others keep conversations, read into OpenAI messages with tool arguments as objects."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

Row = Mapping[str, Any]
Message = dict[str, Any]
_ROLES = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "model": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "function_call": "function_call",
    "observation": "tool",
    "tool": "tool",
    "function": "tool",
    "function_response": "tool",
    "ipython": "tool",
    "system": "system",
    "developer": "system",
}
_TYPES = {"dict": "object", "str": "string", "int": "integer", "float": "number", "bool": "boolean", "list": "array", "tuple": "array"}


class Unreadable(Exception):  # noqa: N818 (names a row, caught at once)
    """A row that is no conversation of a known format."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def conversation(row: Row) -> tuple[list[Message], list[dict[str, Any]]]:
    """Return the messages and tools of a row.

    Raises:
        Unreadable: Where its format is unknown, or what it holds is broken.
    """
    tools = tools_of(row.get("tools") or row.get("functions"))
    if isinstance(turns := row.get("messages"), list):
        messages = from_openai(turns)
    elif isinstance(turns := row.get("conversations") or row.get("conversation"), list):
        messages = from_sharegpt(turns)
    elif "chosen" in row or "chosen_messages" in row:
        raise Unreadable("preference_pair", "a chosen and a rejected answer: read by a source of type `preferences`")
    elif isinstance(row.get("prompt"), list) and isinstance(row.get("completion"), list):
        messages = from_openai([*row["prompt"], *row["completion"]])
    else:
        messages = from_alpaca(row)
    system = row.get("system")
    if isinstance(system, str) and system.strip() and (not messages or messages[0]["role"] != "system"):
        messages.insert(0, {"role": "system", "content": system})
    return with_call_ids(messages), tools


def from_openai(turns: Iterable[Any]) -> list[Message]:
    """OpenAI messages; contents in parts are joined, the older `function_call` is understood."""
    made = []
    for number, turn in enumerate(turns):
        if not isinstance(turn, dict):
            raise Unreadable("bad_message", f"message {number} is {type(turn).__name__}")
        if turn.get("role") is None:
            raise Unreadable("no_role", f"message {number}: its keys are {', '.join(map(str, turn))[:100] or 'none'}")
        if turn["role"] == "assistant" and 0 in (turn.get("weight"), turn.get("loss_weight")):
            raise Unreadable("weight_zero", f"message {number}: turns that are not to be learned cannot be told apart in training")
        message: Message = {"role": _ROLES.get(str(turn.get("role")), str(turn.get("role")))}
        message |= parts_of(turn.get("content"), number)
        calls = [*(turn.get("tool_calls") or []), *message.pop("calls", [])]
        if turn.get("function_call"):
            calls.append({"function": turn["function_call"]})
        if calls:
            message["tool_calls"] = [call_of(call, number) for call in calls]
        made.append(message | {key: turn[key] for key in ("tool_call_id", "name", "reasoning_content") if turn.get(key) is not None})
    return made


def parts_of(content: Any, number: int) -> Message:
    """The text of a content, which may come in typed parts; calls and thoughts among them stand apart."""
    if content is None or isinstance(content, str):
        return {"content": content}
    if not isinstance(content, list) or not all(isinstance(part, dict) for part in content):
        raise Unreadable("content_not_text", f"message {number}: {type(content).__name__}")
    found: dict[str, list[Any]] = {"text": [], "reasoning": [], "tool_call": []}
    for part in content:
        if part.get("type") not in found:
            raise Unreadable("content_not_text", f"message {number} holds {part.get('type')!r}")
        found[part["type"]].append(part.get("value", part.get("text")))
    if not all(isinstance(text, str) for text in [*found["text"], *found["reasoning"]]):
        raise Unreadable("content_not_text", f"message {number}: a part without text")
    message: Message = {"content": "\n".join(found["text"]) if found["text"] else None}
    if found["reasoning"]:
        message["reasoning_content"] = "\n".join(found["reasoning"])
    return message | ({"calls": [parsed(call, "bad_message", number) for call in found["tool_call"]]} if found["tool_call"] else {})


def from_sharegpt(turns: Iterable[Any]) -> list[Message]:
    """`from` and `value`, or `role` and `content`; `function_call` turns hold JSON."""
    made: list[Message] = []
    for number, turn in enumerate(turns):
        if not isinstance(turn, dict):
            raise Unreadable("bad_message", f"turn {number} is {type(turn).__name__}")
        speaker, value = turn.get("from", turn.get("role")), turn.get("value", turn.get("content"))
        if speaker is None:
            raise Unreadable("no_role", f"turn {number}: its keys are {', '.join(map(str, turn))[:100] or 'none'}")
        role = _ROLES.get(str(speaker))
        if role is None:
            raise Unreadable("unknown_role", f"turn {number}: {speaker!r}")
        if role == "function_call":
            calls = parsed(value, "bad_message", number)
            listed = calls if isinstance(calls, list) else [calls]
            made.append({"role": "assistant", "content": None, "tool_calls": [call_of(call, number) for call in listed]})
        else:
            made.append({"role": role, **parts_of(value, number)})
    return made


def from_alpaca(row: Row) -> list[Message]:
    """`instruction`, `input`, `output` and `history`; or a prompt and what completes it."""
    for ask, answer in (("instruction", "output"), ("prompt", "completion"), ("prompt", "response"), ("question", "answer")):
        if isinstance(row.get(ask), str) and isinstance(row.get(answer), str):
            break
    else:
        raise Unreadable("unknown_format", f"keys: {', '.join(map(str, row))[:200] or 'none'}")
    made: list[Message] = []
    for pair in row.get("history") or []:
        if not isinstance(pair, list) or len(pair) != 2:
            raise Unreadable("bad_message", "history is no list of pairs")
        made += [{"role": "user", "content": str(pair[0])}, {"role": "assistant", "content": str(pair[1])}]
    given = row.get("input") if ask == "instruction" else None
    text = f"{row[ask]}\n\n{given}" if isinstance(given, str) and given.strip() else row[ask]
    return [*made, {"role": "user", "content": text}, {"role": "assistant", "content": row[answer]}]


def call_of(call: Any, number: int) -> dict[str, Any]:
    """One call with its arguments as an object; JSON in a string is read once, and no further."""
    function = call.get("function", call) if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise Unreadable("bad_message", f"message {number}: a tool call without a name")
    arguments = function.get("arguments", function.get("parameters", {}))
    if isinstance(arguments, str):
        arguments = parsed(arguments or "{}", "arguments_bad_json", number)
    if isinstance(arguments, str):
        raise Unreadable("arguments_encoded_twice", f"message {number}: {function['name']}: JSON in a string in a string")
    if not isinstance(arguments, dict):
        raise Unreadable("arguments_not_object", f"message {number}: {function['name']}: {type(arguments).__name__}")
    return {"id": call.get("id"), "type": "function", "function": {"name": function["name"], "arguments": arguments}}


def tools_of(tools: Any) -> list[dict[str, Any]]:
    """Tools as OpenAI function tools, from a list or JSON in a string; Python's names of types become JSON Schema's."""
    if isinstance(tools, str):
        tools = parsed(tools, "tools_bad_json", None) if tools.strip() else []
    if not isinstance(tools or [], list):
        raise Unreadable("tools_bad_json", f"tools is {type(tools).__name__}, not a list")
    made = []
    for tool in tools or []:
        function = tool.get("function", tool) if isinstance(tool, dict) else None
        if not isinstance(function, dict):
            raise Unreadable("tool_invalid", f"a tool is {str(tool)[:60]!r}")
        made.append({"type": "function", "function": schema_words(function)})
    return made


def schema_words(value: Any) -> Any:
    """Put JSON Schema's names of types for Python's, wherever a `type` stands."""
    if isinstance(value, dict):
        return {k: _TYPES.get(v, v) if k == "type" and isinstance(v, str) else schema_words(v) for k, v in value.items()}
    return [schema_words(each) for each in value] if isinstance(value, list) else value


def with_call_ids(messages: list[Message]) -> list[Message]:
    """Give every call an id of its own and every result the id of its call: those without come in the order of the calls."""
    waiting: list[tuple[Any, str]] = []
    count = 0
    for message in messages:
        if message["role"] == "tool" and waiting:
            given = message.get("tool_call_id")
            place = next((n for n, (old, _) in enumerate(waiting) if old == given), 0 if given is None else None)
            if place is not None:
                message["tool_call_id"] = waiting.pop(place)[1]
        elif message.get("tool_calls"):
            waiting = []
            for call in message["tool_calls"]:
                old, call["id"] = call["id"], f"call_{count}"
                waiting.append((old, call["id"]))
                count += 1
    return messages


def parsed(text: Any, reason: str, number: int | None) -> Any:
    """Read JSON from a string."""
    try:
        return json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        where = "" if number is None else f"message {number}: "
        raise Unreadable(reason, f"{where}{error}") from None
