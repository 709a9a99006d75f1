"""The shapes of what clients may ask, strict in what is looked at here; other fields stay as they came."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from src.serve.sound import opened, sound

INT64 = 2**63
MOST_INPUTS = 2048


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
            inside = opened(value)
        except (ValueError, RecursionError):
            inside = None
        if not isinstance(inside, dict):
            raise ValueError("has to be a JSON object in a string")
        sound(inside)
        return value


class Call(_Part):
    """A tool call of an earlier answer."""

    id: str | None = None
    type: Literal["function"] = "function"
    function: Function


class Message(_Part):
    """A message; its content is text, or parts: text, images, …"""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Any = None
    """Text, or a list of parts."""
    name: str | None = None
    tool_calls: list[Call] | None = None
    tool_call_id: str | None = None

    @field_validator("content")
    @classmethod
    def _is_text(cls, value: Any) -> Any:
        if not isinstance(value, str | list | None):
            raise ValueError("has to be text, or a list of parts")
        if isinstance(value, list) and not all(map(_is_part, value)):
            raise ValueError("each part of a content is an object as {'type': 'text', 'text': …}; most models read text alone")
        return value

    @model_validator(mode="after")
    def _says_something(self) -> "Message":
        if self.content is None and not self.tool_calls:
            raise ValueError("a message needs a content")
        return self

    @property
    def text(self) -> str | None:
        """The content as text; of an image its kind is left."""
        if not isinstance(self.content, list):
            return None if self.content is None else str(self.content)
        return "".join(part["text"] if part["type"] == "text" else f"[{part['type']}]" for part in self.content)

    def rendered(self) -> dict[str, Any]:
        """The message as a chat template takes it: arguments as objects."""
        made: dict[str, Any] = {"role": "system" if self.role == "developer" else self.role, "content": self.text}
        if self.tool_calls:
            made["tool_calls"] = [
                {"id": call.id, "type": "function", "function": {"name": call.function.name, "arguments": opened(call.function.arguments)}}
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


class _Written(_Part):
    """What all requests for text have."""

    model: str
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


class Fields(_Written):
    """A chat request."""

    messages: list[Message] = Field(min_length=1)
    tools: list[Tool] | None = Field(default=None, max_length=128)
    tool_choice: str | dict[str, Any] | None = None


class CompletionFields(_Written):
    """A request to continue a text."""

    prompt: str

    @field_validator("prompt", mode="before")
    @classmethod
    def _alone(cls, value: Any) -> Any:
        return value[0] if isinstance(value, list) and len(value) == 1 else value


class EmbeddingFields(_Part):
    """A request for the vectors of texts, or of texts as token ids."""

    model: str
    input: Any
    dimensions: int | None = Field(default=None, ge=1)
    encoding_format: Literal["float", "base64"] | None = None

    @field_validator("input")
    @classmethod
    def _is_input(cls, value: Any) -> Any:
        texts = [value] if isinstance(value, str) or _is_tokens(value) else value
        if not isinstance(texts, list) or not texts or not all((isinstance(each, str) and each) or _is_tokens(each) for each in texts):
            raise ValueError("has to be a text, a list of texts, or token ids; none of them empty")
        if len(texts) > MOST_INPUTS:
            raise ValueError(f"at most {MOST_INPUTS} inputs a request")
        return value


class ClassifyFields(_Part):
    """A request for the classes of texts."""

    model: str
    input: str | list[str]

    @property
    def texts(self) -> list[str]:
        """The texts."""
        return [self.input] if isinstance(self.input, str) else self.input

    @field_validator("input")
    @classmethod
    def _is_input(cls, value: str | list[str]) -> str | list[str]:
        if not value:
            raise ValueError("has to be a text, or a list of texts")
        return value


def _is_tokens(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(type(each) is int and each >= 0 for each in value)


def _is_part(part: Any) -> bool:
    if not isinstance(part, dict) or not isinstance(part.get("type"), str):
        return False
    return part["type"] != "text" or isinstance(part.get("text"), str)
