"""Reads a chat request that may be anything at all: either it is sound, or a RequestError says what to change."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

DEPTH = 64  # levels of JSON within JSON
INT64 = 2**63


class RequestError(Exception):
    """A request that is answered with an error in OpenAI's form."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        kind: str = "invalid_request_error",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {})
        self.body: dict[str, Any] = {"error": {"message": message, "type": kind, "param": param, "code": code}}


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True)


class Function(_Part):
    """The call of a function, its arguments as JSON in a string."""

    name: str = Field(min_length=1)
    arguments: str

    @field_validator("arguments")
    @classmethod
    def _is_object(cls, value: str) -> str:
        try:
            opened = _opened(value)
        except (ValueError, RecursionError):
            opened = None
        if not isinstance(opened, dict):
            raise ValueError("has to be a JSON object in a string")
        _sound(opened)
        return value


class Call(_Part):
    """A tool call of an earlier answer."""

    id: str | None = None
    type: Literal["function"] = "function"
    function: Function


class Message(_Part):
    """A message; its content is text, or text in parts."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | None = None
    name: str | None = None
    tool_calls: list[Call] | None = None
    tool_call_id: str | None = None

    @field_validator("content", mode="before")
    @classmethod
    def _join(cls, value: Any) -> Any:
        if not isinstance(value, list):
            return value
        texts = [part["text"] for part in value if isinstance(part, dict) and part.get("type") == "text" and "text" in part]
        if len(texts) < len(value) or not all(isinstance(text, str) for text in texts):
            raise ValueError("each part of a content has to be {'type': 'text', 'text': …}: this model reads text alone")
        return "".join(texts)

    @model_validator(mode="after")
    def _says_something(self) -> "Message":
        if self.content is None and not self.tool_calls:
            raise ValueError("a message needs a content")
        return self

    def rendered(self) -> dict[str, Any]:
        """The message as a chat template takes it: arguments as objects."""
        made: dict[str, Any] = {"role": "system" if self.role == "developer" else self.role, "content": self.content}
        if self.tool_calls:
            made["tool_calls"] = [
                {"id": call.id, "type": "function", "function": {"name": call.function.name, "arguments": _opened(call.function.arguments)}}
                for call in self.tool_calls
            ]
        return made | {key: value for key in ("name", "tool_call_id") if (value := getattr(self, key))}


class ToolFunction(_Part):
    """A function that may be called; `parameters` is a JSON Schema."""

    name: str = Field(min_length=1, max_length=128)
    description: str | None = None
    parameters: dict[str, Any] | None = None


class Tool(_Part):
    """A tool that is offered."""

    type: Literal["function"]
    function: ToolFunction


class StreamOptions(_Part):
    """What a stream tells besides the answer."""

    include_usage: bool = False


class Fields(_Part):
    """The fields of a chat request that are looked at here; others stay as they came."""

    model: str
    messages: list[Message] = Field(min_length=1)
    tools: list[Tool] | None = Field(default=None, max_length=128)
    tool_choice: str | dict[str, Any] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    seed: int | None = Field(default=None, ge=-INT64, lt=INT64)
    stop: list[str] | None = Field(default=None, max_length=16)
    n: int | None = None

    @field_validator("stop", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        value = [value] if isinstance(value, str) else value
        if isinstance(value, list) and "" in value:
            raise ValueError("an empty text stops nothing")
        return value

    @field_validator("n")
    @classmethod
    def _one(cls, value: int | None) -> int | None:
        if value not in (None, 1):
            raise ValueError("one answer a request: n has to be 1")
        return value


@dataclass(frozen=True)
class ChatRequest:
    """A sound request, as fields and as it came."""

    fields: Fields
    body: dict[str, Any]
    """The JSON object, other fields included."""
    raw: bytes
    """The bytes that spell `body`."""

    def with_system(self, prompt: str | None) -> "ChatRequest":
        """Put `prompt` first, where the client sends no system message of its own."""
        if not prompt or any(message.role in ("system", "developer") for message in self.fields.messages):
            return self
        body = {**self.body, "messages": [{"role": "system", "content": prompt}, *self.body["messages"]]}
        fields = self.fields.model_copy(update={"messages": [Message(role="system", content=prompt), *self.fields.messages]})
        return replace(self, fields=fields, body=body, raw=json.dumps(body).encode())

    def with_usage(self) -> "ChatRequest":
        """Ask for the token counts at the end of a stream."""
        told = {**(self.body.get("stream_options") or {}), "include_usage": True}
        body = {**self.body, "stream_options": told}
        fields = self.fields.model_copy(update={"stream_options": StreamOptions(include_usage=True)})
        return replace(self, fields=fields, body=body, raw=json.dumps(body).encode())

    def conversation(self) -> list[dict[str, Any]]:
        """The messages as a chat template takes them."""
        return [message.rendered() for message in self.fields.messages]

    def tools(self) -> list[dict[str, Any]]:
        """The tools offered, as they came; none where the client wants none used."""
        return [] if self.fields.tool_choice == "none" else list(self.body.get("tools") or [])


def parse(raw: bytes, model: str) -> ChatRequest:
    """Read a request for the model of this name.

    Raises:
        RequestError: With 400, or 404 where another model is asked for.
    """
    try:
        body = json.loads(raw.decode("utf-8"), parse_constant=_no_constant, parse_float=_finite)
    except UnicodeDecodeError as error:
        raise RequestError(400, f"the body is not UTF-8: {error.reason} at byte {error.start}") from None
    except RecursionError:
        raise RequestError(400, f"the JSON is nested deeper than {DEPTH} levels") from None
    except ValueError as error:
        raise RequestError(400, f"the body is not valid JSON: {str(error)[:200]}") from None
    if not isinstance(body, dict):
        raise RequestError(400, "the body has to be a JSON object")
    _sound(body)
    try:
        fields = Fields.model_validate(body)
    except ValidationError as error:
        raise _refused(error) from None
    if fields.model != model:
        raise RequestError(404, f"there is no model {fields.model[:80]!r} here, only {model!r}", code="model_not_found", param="model")
    return ChatRequest(fields, body, raw)


def _refused(error: ValidationError) -> RequestError:
    found = error.errors(include_url=False)[0]
    # a number among the alternatives of a field is no key of the client's
    where = ".".join(str(key) for key in found["loc"] if not (isinstance(key, str) and "[" in key))
    message = str(found["msg"]).removeprefix("Value error, ")
    return RequestError(400, f"{where}: {message[0].lower()}{message[1:]}", param=str(found["loc"][0]))


def _sound(body: Any) -> None:
    """Refuse what is JSON by its letters and breaks what comes after: endless nesting, half characters."""
    level: Sequence[Any] = [body]
    for _ in range(DEPTH):
        for text in level:
            if isinstance(text, str) and not text.isascii():
                _encodable(text)
        level = [inner for value in level for inner in _inside(value)]
        if not level:
            return
    raise RequestError(400, f"the JSON is nested deeper than {DEPTH} levels")


def _inside(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value
        yield from value.values()
    elif isinstance(value, list):
        yield from value


def _encodable(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise RequestError(400, f"a text holds half a character (a lone surrogate, \\u{ord(text[error.start]):04x})") from None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON value")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text[:40]} is too large")
    return value


def _opened(arguments: str) -> Any:
    return json.loads(arguments or "{}", parse_constant=_no_constant)
