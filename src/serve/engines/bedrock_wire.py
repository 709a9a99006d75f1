"""Bedrock's Converse in OpenAI's shapes, there and back; nothing that is asked for is silently left out."""

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

from src.serve.reply import DONE, Shape, usage
from src.serve.request import RequestError

_UNKNOWN = ("logit_bias", "logprobs", "top_logprobs", "audio", "prediction", "functions", "seed", "frequency_penalty", "presence_penalty")
_NEUTRAL: tuple[Any, ...] = (None, False, 0, [], {})
_FORMATS = {"png": "png", "jpeg": "jpeg", "jpg": "jpeg", "gif": "gif", "webp": "webp"}
_REASONS = {
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
}


def converse_request(body: Mapping[str, Any], *, model: str, longest: int | None) -> dict[str, Any]:
    """The arguments of Converse and ConverseStream.

    Args:
        body: The request in OpenAI's form.
        model: As Bedrock calls it.
        longest: Tokens that the answer may have; Bedrock's own bound if None.

    Raises:
        RequestError: 400 where it asks for what Converse has not.
    """
    for key in _UNKNOWN:
        if body.get(key) not in _NEUTRAL:
            raise RequestError(400, f"{key}: Bedrock does not support it", code="unsupported_parameter", param=key)
    settings = {ours: body[theirs] for theirs, ours in (("temperature", "temperature"), ("top_p", "topP")) if body.get(theirs) is not None}
    if asked := body.get("max_completion_tokens") or body.get("max_tokens") or longest:
        settings["maxTokens"] = min(asked, longest or asked)
    if stop := body.get("stop"):
        settings["stopSequences"] = [stop] if isinstance(stop, str) else stop
    made: dict[str, Any] = {"modelId": model, "messages": _turns(body["messages"])}
    if system := [block for each in body["messages"] if each["role"] in ("system", "developer") for block in _blocks(each.get("content"))]:
        made["system"] = system
    if settings:
        made["inferenceConfig"] = settings
    if body.get("tools") and body.get("tool_choice") != "none":
        made["toolConfig"] = _tools(body["tools"], body.get("tool_choice"))
    if form := _form(body.get("response_format")):
        made["outputConfig"] = form
    return made


def whole(found: Mapping[str, Any], shape: Shape) -> dict[str, Any]:
    """An answer of Converse in OpenAI's form."""
    blocks = found.get("output", {}).get("message", {}).get("content", [])
    message: dict[str, Any] = {"role": "assistant", "content": "".join(each.get("text", "") for each in blocks), "refusal": None}
    if thought := "".join(_thought(each["reasoningContent"]) for each in blocks if "reasoningContent" in each):
        message["reasoning_content"] = thought
    calls = [_call(each["toolUse"], json.dumps(each["toolUse"].get("input", {}))) for each in blocks if "toolUse" in each]
    if calls:
        message |= {"content": message["content"] or None, "tool_calls": calls}
    return shape.whole(message, _reason(found.get("stopReason")), _usage(found.get("usage", {})))


class Deltas:
    """Turns the events of ConverseStream into OpenAI's."""

    def __init__(self, shape: Shape, *, with_usage: bool) -> None:
        self.shape = shape
        self.with_usage = with_usage
        self.ended = False
        """Whether it has said that it stops."""
        self._calls: dict[int, int] = {}

    def feed(self, event: Mapping[str, Any]) -> bytes:
        """Take an event; return those that it makes."""
        if "messageStart" in event:
            return self.shape.chunk({"role": "assistant", "content": ""})
        if start := event.get("contentBlockStart"):
            return self._started(start)
        if found := event.get("contentBlockDelta"):
            return self._delta(found)
        if stop := event.get("messageStop"):
            self.ended = True
            return self.shape.chunk({}, _reason(stop.get("stopReason")))
        if (told := event.get("metadata")) and self.with_usage:
            return self.shape.last(_usage(told.get("usage", {})))
        return b""

    def end(self) -> bytes:
        """What comes last."""
        return DONE

    def _started(self, start: Mapping[str, Any]) -> bytes:
        use = start.get("start", {}).get("toolUse")
        if not use:
            return b""
        place = self._calls[start["contentBlockIndex"]] = len(self._calls)
        return self.shape.chunk({"tool_calls": [{"index": place, **_call(use, "")}]})

    def _delta(self, found: Mapping[str, Any]) -> bytes:
        delta = found.get("delta", {})
        if text := delta.get("text"):
            return self.shape.chunk({"content": text})
        if use := delta.get("toolUse"):
            place = self._calls[found["contentBlockIndex"]]
            return self.shape.chunk({"tool_calls": [{"index": place, "function": {"arguments": use.get("input", "")}}]})
        if thought := delta.get("reasoningContent", {}).get("text"):
            return self.shape.chunk({"reasoning_content": thought})
        return b""


def _turns(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Converse wants turns of user and assistant one after the other; results of tools are the user's."""
    found: list[dict[str, Any]] = []
    for message in messages:
        role = message["role"]
        if role in ("system", "developer"):
            continue
        blocks = _result(message) if role == "tool" else _blocks(message.get("content")) + _uses(message)
        said = "assistant" if role == "assistant" else "user"
        if found and found[-1]["role"] == said:
            found[-1]["content"] += blocks
        else:
            found.append({"role": said, "content": blocks})
    return found


def _blocks(content: Any) -> list[dict[str, Any]]:
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content or []
    return [_block(part) for part in parts if part["type"] != "text" or part["text"]]  # Bedrock refuses empty text


def _block(part: Mapping[str, Any]) -> dict[str, Any]:
    if part["type"] == "text":
        return {"text": part["text"]}
    given = part.get("image_url") if part["type"] == "image_url" else None
    url = str(given.get("url") if isinstance(given, dict) else given)
    head, _, data = url.partition(",")
    kind = _FORMATS.get(head.removeprefix("data:image/").removesuffix(";base64"))
    try:
        if not kind:
            raise ValueError
        return {"image": {"format": kind, "source": {"bytes": base64.b64decode(data, validate=True)}}}
    except ValueError:
        words = "messages: an image has to be a data: URL with base64 of png, jpeg, gif or webp; nothing is fetched from elsewhere"
        raise RequestError(400, words, code="bad_image", param="messages") from None


def _uses(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "toolUse": {
                "toolUseId": call.get("id") or "call",
                "name": call["function"]["name"],
                "input": json.loads(call["function"]["arguments"] or "{}"),
            }
        }
        for call in message.get("tool_calls") or ()
    ]


def _result(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "toolResult": {
                "toolUseId": message.get("tool_call_id") or "call",
                "content": _blocks(message.get("content")) or [{"text": "(nothing)"}],
            }
        }
    ]


def _tools(tools: Sequence[Mapping[str, Any]], choice: Any) -> dict[str, Any]:
    specs = []
    for tool in tools:
        function = tool["function"]
        schema = function.get("parameters") or {"type": "object", "properties": {}}
        said = {"description": function["description"]} if function.get("description") else {}
        specs.append({"toolSpec": {"name": function["name"], **said, "inputSchema": {"json": schema}}})
    if choice == "required":
        return {"tools": specs, "toolChoice": {"any": {}}}
    if isinstance(choice, dict) and choice.get("type") == "function":
        return {"tools": specs, "toolChoice": {"tool": {"name": str(choice.get("function", {}).get("name", ""))}}}
    return {"tools": specs}


def _form(asked: Any) -> dict[str, Any] | None:
    kind = asked.get("type") if isinstance(asked, dict) else None
    if kind == "json_object":
        raise RequestError(400, "response_format: Bedrock takes a json_schema", code="unsupported_parameter", param="response_format")
    if kind != "json_schema":
        return None
    told = asked.get("json_schema") or {}
    structure = {"jsonSchema": {"schema": json.dumps(told.get("schema") or {}), "name": str(told.get("name") or "answer")}}
    return {"textFormat": {"type": "json_schema", "structure": structure}}


def _call(use: Mapping[str, Any], arguments: str) -> dict[str, Any]:
    return {"id": use["toolUseId"], "type": "function", "function": {"name": use["name"], "arguments": arguments}}


def _thought(block: Mapping[str, Any]) -> str:
    return str(block.get("reasoningText", {}).get("text", ""))


def _reason(stop: Any) -> str:
    return _REASONS.get(str(stop), "stop")


def _usage(told: Mapping[str, Any]) -> dict[str, int]:
    return usage(int(told.get("inputTokens", 0)), int(told.get("outputTokens", 0)))
