"""Ollama's native chat in OpenAI's shapes, there and back; nothing that is asked for is silently left out."""

import base64
import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any

from src.serve.reply import DONE, Shape, event, tool_calls, usage
from src.serve.request import RequestError

_OPTIONS = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "min_p": "min_p",
    "seed": "seed",
    "frequency_penalty": "frequency_penalty",
    "presence_penalty": "presence_penalty",
    "repeat_penalty": "repeat_penalty",
}
_UNKNOWN = ("logit_bias", "logprobs", "top_logprobs", "audio", "prediction", "functions", "web_search_options")
_NEUTRAL: tuple[Any, ...] = (None, False, 0, [], {})
_FINISH = {"stop": "stop", "length": "length"}


def chat_request(body: Mapping[str, Any], *, model: str, num_ctx: int | None, longest: int | None) -> dict[str, Any]:
    """A chat request for /api/chat.

    Args:
        body: The request in OpenAI's form.
        model: As Ollama calls it.
        num_ctx: The context's length; Ollama's own where None.
        longest: Tokens that the answer may have.

    Raises:
        RequestError: 400 where it asks for what Ollama has not.
    """
    _refuse_unknown(body)
    options = {ours: body[theirs] for theirs, ours in _OPTIONS.items() if body.get(theirs) is not None}
    if stop := body.get("stop"):
        options["stop"] = [stop] if isinstance(stop, str) else stop
    asked = body.get("max_completion_tokens") or body.get("max_tokens") or longest
    if asked:
        options["num_predict"] = min(asked, longest or asked)
    if num_ctx:
        options["num_ctx"] = num_ctx
    made: dict[str, Any] = {"model": model, "messages": _messages(body["messages"]), "stream": body.get("stream") is True}
    made |= {"options": options, "truncate": False, "shift": False}  # rather an error than a conversation that was cut unasked
    if body.get("tools") and body.get("tool_choice") != "none":
        made["tools"] = body["tools"]
    if (form := _format(body.get("response_format"))) is not None:
        made["format"] = form
    if effort := body.get("reasoning_effort"):
        made["think"] = False if effort in ("none", "minimal") else effort
    return made


def whole(found: Mapping[str, Any], shape: Shape) -> dict[str, Any]:
    """An answer of /api/chat that came whole, in OpenAI's form."""
    told = found.get("message") or {}
    message: dict[str, Any] = {"role": "assistant", "content": told.get("content") or "", "refusal": None}
    if thinking := told.get("thinking"):
        message["reasoning_content"] = thinking
    calls = _calls(told.get("tool_calls"))
    if calls:
        message |= {"content": message["content"] or None, "tool_calls": calls}
    return shape.whole(message, _reason(found, bool(calls)), _usage(found))


class Events:
    """Turns the lines of a streamed answer into OpenAI's events."""

    def __init__(self, shape: Shape, *, with_usage: bool) -> None:
        self.shape = shape
        self.with_usage = with_usage
        self.done: Mapping[str, Any] | None = None
        """The last line, with the counts, once it has come."""
        self.called = 0
        self.begun = False

    def feed(self, line: bytes) -> bytes:
        """Take a line; return the events that it makes.

        Raises:
            ValueError: Where it is none of an answer, or tells an error.
        """
        if self.done is not None:  # some servers end twice
            return b""
        found = json.loads(line)
        if not isinstance(found, dict) or "error" in found:
            raise ValueError(str(found.get("error", "an odd line"))[:300] if isinstance(found, dict) else "an odd line")
        told = found.get("message") or {}
        delta: dict[str, Any] = {} if self.begun else {"role": "assistant"}
        if told.get("content") or not self.begun:
            delta["content"] = told.get("content") or ""
        self.begun = True
        if thinking := told.get("thinking"):
            delta["reasoning_content"] = thinking
        if calls := _calls(told.get("tool_calls")):
            delta["tool_calls"] = [{"index": self.called + place, **call} for place, call in enumerate(calls)]
            self.called += len(calls)
        data = self.shape.chunk(delta) if delta else b""
        return data + self._end(found) if found.get("done") else data

    def _end(self, found: Mapping[str, Any]) -> bytes:
        self.done = found
        data = self.shape.chunk({}, _reason(found, bool(self.called)))
        counted = self.with_usage and "eval_count" in found  # who does not count has not used nothing
        return data + (self.shape.last(_usage(found)) if counted else b"") + DONE


def failed(error: RequestError) -> bytes:
    """The event of a stream that cannot go on."""
    return event(error.body)


def embed_request(body: Mapping[str, Any], *, model: str) -> dict[str, Any]:
    """A request for /api/embed.

    Raises:
        RequestError: 400 where the inputs are token ids.
    """
    given = body["input"]
    texts = [given] if isinstance(given, str) else given
    if not all(isinstance(text, str) for text in texts):
        raise RequestError(400, "input: Ollama embeds texts, not token ids", code="unsupported_parameter", param="input")
    made: dict[str, Any] = {"model": model, "input": texts, "truncate": False}
    return made | ({"dimensions": body["dimensions"]} if body.get("dimensions") else {})


def embedded(found: Mapping[str, Any], *, name: str, packed: bool) -> dict[str, Any]:
    """Vectors of /api/embed in OpenAI's form; `packed` as base64 of float32, which OpenAI's client asks for."""
    rows = [
        {"object": "embedding", "index": place, "embedding": _packed(vector) if packed else vector}
        for place, vector in enumerate(found.get("embeddings") or ())
    ]
    tokens = int(found.get("prompt_eval_count") or 0)
    return {"object": "list", "data": rows, "model": name, "usage": {"prompt_tokens": tokens, "total_tokens": tokens}}


def _refuse_unknown(body: Mapping[str, Any]) -> None:
    for key in _UNKNOWN:
        if body.get(key) not in _NEUTRAL:
            raise RequestError(400, f"{key}: Ollama does not support it", code="unsupported_parameter", param=key)
    if body.get("tool_choice") not in (None, "auto", "none"):
        raise RequestError(400, "tool_choice: Ollama knows 'auto' and 'none'", code="unsupported_parameter", param="tool_choice")


def _messages(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    called = {
        call["id"]: call["function"]["name"] for each in messages for call in each.get("tool_calls") or () if call.get("id")
    }  # Ollama's results name the tool
    return [_message(each, called) for each in messages]


def _message(message: Mapping[str, Any], called: Mapping[str, str]) -> dict[str, Any]:
    role = message["role"]
    made: dict[str, Any] = {"role": "system" if role == "developer" else role, **_content(message.get("content"))}
    if thinking := message.get("reasoning_content"):
        made["thinking"] = thinking
    if calls := message.get("tool_calls"):
        made["tool_calls"] = [
            {"function": {"name": call["function"]["name"], "arguments": json.loads(call["function"].get("arguments") or "{}")}}
            for call in calls
        ]
    if role == "tool" and (given := message.get("tool_call_id")):
        made |= {"tool_call_id": given, "tool_name": message.get("name") or called.get(given, "")}
    return made


def _content(content: Any) -> dict[str, Any]:
    """Text in one piece, images beside it as base64."""
    if not isinstance(content, list):
        return {"content": content or ""}
    texts = [part["text"] for part in content if part["type"] == "text"]
    images = [_image(part) for part in content if part["type"] != "text"]
    return {"content": "\n".join(texts)} | ({"images": images} if images else {})


def _image(part: Mapping[str, Any]) -> str:
    if part["type"] != "image_url":
        raise RequestError(400, f"messages: Ollama takes text and images, no {part['type'][:40]!r}", param="messages")
    given = part.get("image_url")
    url = given.get("url") if isinstance(given, dict) else given
    head, comma, data = str(url).partition(",")
    if not head.startswith("data:image/") or not head.endswith(";base64") or not comma:
        raise RequestError(
            400,
            "messages: an image has to be a data: URL with base64; nothing is fetched from elsewhere",
            code="bad_image",
            param="messages",
        )
    try:
        base64.b64decode(data, validate=True)
    except ValueError:
        raise RequestError(400, "messages: the image is no base64", code="bad_image", param="messages") from None
    return data


def _format(asked: Any) -> Any:
    """A JSON Schema, "json", or None where plain text is asked for."""
    kind = asked.get("type") if isinstance(asked, dict) else None
    if kind == "json_schema":
        schema = asked.get("json_schema")
        return schema.get("schema") or "json" if isinstance(schema, dict) else "json"
    return "json" if kind == "json_object" else None


def _calls(found: Any) -> list[dict[str, Any]]:
    calls = [each["function"] for each in found or () if isinstance(each, dict) and isinstance(each.get("function"), dict)]
    return tool_calls([{"name": str(each.get("name", "")), "arguments": each.get("arguments") or {}} for each in calls])


def _reason(found: Mapping[str, Any], called: bool) -> str:
    return "tool_calls" if called else _FINISH.get(str(found.get("done_reason")), "stop")


def _usage(found: Mapping[str, Any]) -> dict[str, int]:
    return usage(int(found.get("prompt_eval_count") or 0), int(found.get("eval_count") or 0))


def _packed(vector: Sequence[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
