"""A request on its way to an engine, and the error that it is answered with where it cannot go on."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from src.serve.access.visit import Visit
    from src.serve.fields import ClassifyFields, CompletionFields, EmbeddingFields, Fields

CHAT, COMPLETIONS, EMBEDDINGS, CLASSIFY = "/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/classify"


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


def bug() -> RequestError:
    """What a client is told of a fault of ours."""
    return RequestError(500, "the server failed; its log says why", kind="server_error", code="internal_error")


class UnavailableError(RequestError):
    """An engine that cannot answer now: nothing has been sent, and another may answer in its place."""

    after: float | None = None
    """Seconds after which it may be asked again, where it says so."""
    tries: int = 1
    """How often it was asked."""


class Call:
    """A sound request, as fields and as it came. It is never changed; `changed` and its kin return another."""

    __slots__ = ("_raw", "bare", "body", "exact", "fields", "headers", "metered", "path", "tokens", "visit")

    def __init__(
        self,
        path: str,
        fields: "Fields | CompletionFields | EmbeddingFields | ClassifyFields",
        body: dict[str, Any],
        raw: bytes | None = None,
        *,
        headers: Sequence[tuple[bytes, bytes]] = (),
        visit: "Visit | None" = None,
    ) -> None:
        """Begin.

        Args:
            path: What is asked for: `CHAT`, `COMPLETIONS`, `EMBEDDINGS` or `CLASSIFY`.
            fields: What is looked at here, checked.
            body: The JSON object, other fields included.
            raw: The bytes that spell `body`; made when they are wanted if None.
            headers: The client's, by their names in lower case.
            visit: Whose it is; None where nobody is asked who they are.
        """
        self.path, self.fields, self.body, self._raw = path, fields, body, raw
        self.headers, self.visit, self.metered = headers, visit, False
        self.bare: Call | None = None
        """The same without what memory put into it: what is asked where that does not fit."""
        self.tokens: int | None = None
        """Of its prompt, where they were counted."""
        self.exact = False
        """Whether they were counted with the model's own tokenizer."""

    @property
    def model(self) -> str:
        """The model asked for."""
        name: str = self.body["model"]
        return name

    @property
    def stream(self) -> bool:
        """Whether the answer is to come as server-sent events."""
        return self.body.get("stream") is True

    @property
    def who(self) -> str | None:
        """Id of the caller, where it is known."""
        return self.visit.caller.id if self.visit else None

    @property
    def raw(self) -> bytes:
        """The bytes that spell `body`: the client's own where nothing was changed."""
        if self._raw is None:
            self._raw = spelt(self.body)
        return self._raw

    def changed(self, **changes: Any) -> "Call":
        """Set fields of the body that are not looked at, or known to be sound."""
        made = Call(
            self.path,
            self.fields.model_copy(update={key: value for key, value in changes.items() if key in type(self.fields).model_fields}),
            {**self.body, **changes},
        )
        made.headers, made.visit, made.metered = self.headers, self.visit, self.metered
        return made

    def counted(self, tokens: int, *, exact: bool) -> "Call":
        """Note how many tokens the prompt has."""
        made = Call(self.path, self.fields, self.body, self._raw, headers=self.headers, visit=self.visit)
        made.metered, made.tokens, made.exact = self.metered, tokens, exact
        return made

    def with_messages(self, places: Sequence[int]) -> "Call":
        """Keep only the messages at these places."""
        made = self.changed(messages=[self.body["messages"][place] for place in places])
        said = [self.fields.messages[place] for place in places]  # type: ignore[union-attr]
        made.fields = made.fields.model_copy(update={"messages": said})
        return made

    def with_system(self, prompt: str | None) -> "Call":
        """Put `prompt` first, where the client sends no system message of its own."""
        from src.serve.fields import Message

        if not prompt or self.path != CHAT or any(each["role"] in ("system", "developer") for each in self.body["messages"]):
            return self
        made = self.changed(messages=[{"role": "system", "content": prompt}, *self.body["messages"]])
        said = [Message(role="system", content=prompt), *self.fields.messages]  # type: ignore[union-attr]
        made.fields = made.fields.model_copy(update={"messages": said})
        return made

    def with_usage(self) -> "Call":
        """Ask for the token counts at the end of a stream."""
        from src.serve.fields import StreamOptions

        made = self.changed(stream_options={**(self.body.get("stream_options") or {}), "include_usage": True})
        made.fields = made.fields.model_copy(update={"stream_options": StreamOptions(include_usage=True)})
        return made

    def conversation(self) -> list[dict[str, Any]]:
        """The messages as a chat template takes them."""
        if self.path == CHAT:
            return [message.rendered() for message in self.fields.messages]  # type: ignore[union-attr]
        return [{"role": "user", "content": self.body.get("prompt", "")}]

    def tools(self) -> list[dict[str, Any]]:
        """The tools offered, as they came; none where the client wants none used."""
        return [] if self.body.get("tool_choice") == "none" else list(self.body.get("tools") or [])


def spelt(body: Any) -> bytes:
    """JSON as bytes."""
    try:
        return orjson.dumps(body)
    except TypeError:  # integers of more than 64 bits
        return json.dumps(body).encode()
