"""Counts the tokens of an answer while its bytes pass, and keeps its text where that is wanted."""

from typing import Any

import orjson


class Meter:
    """Reads an answer of the engine, which tells its usage; takes that out of a stream whose client did not ask for it."""

    def __init__(self, *, stream: bool, told: bool, keep: bool) -> None:
        """Begin.

        Args:
            stream: Whether the answer comes as server-sent events.
            told: Whether the client asked for the usage.
            keep: Whether to keep the answer's text.
        """
        self.usage: tuple[int, int] | None = None
        """Tokens of the question and of the answer, once they are known."""
        self.pieces = 0
        self.keep = keep
        self._stream, self._told = stream, told
        self._rest = b""
        self._text: list[str] = []
        self._calls: dict[int, dict[str, Any]] = {}

    def feed(self, data: bytes) -> bytes:
        """Take bytes of the answer; return those to pass on."""
        if not self._stream:
            self._rest += data
            return data
        if not self._rest and data.endswith(b"\n\n") and data.find(b"\n\n") == len(data) - 2:  # one event, as most come
            return data if self._passes(data[:-2]) else b""
        *events, self._rest = (self._rest + data).split(b"\n\n")
        return b"".join(event + b"\n\n" for event in events if self._passes(event))

    def end(self) -> bytes:
        """The answer is whole; return what is still to be passed on."""
        rest, self._rest = self._rest, b""
        if self._stream:
            return rest
        found = _object(rest)
        self._note(found)
        for choice in found.get("choices", []) if self.keep else ():
            self._take(choice["message"])
        return b""

    @property
    def text(self) -> str:
        """The answer's text so far, tool calls left out."""
        return "".join(self._text)

    @property
    def calls(self) -> list[dict[str, Any]]:
        """The answer's tool calls, their arguments as objects where they are any."""
        return [
            {**call, "function": {**call["function"], "arguments": _opened(call["function"]["arguments"])}} for call in self._calls.values()
        ]

    def _take(self, said: dict[str, Any]) -> None:
        """Take a message, or a piece of one; a call comes in pieces of the same index."""
        self._text.append(said.get("content") or "")
        for place, piece in enumerate(said.get("tool_calls") or ()):
            made = {"id": "", "type": "function", "function": {"name": "", "arguments": ""}}
            call = self._calls.setdefault(piece.get("index", place), made)
            call["id"] = piece.get("id") or call["id"]
            for key in ("name", "arguments"):
                call["function"][key] += (piece.get("function") or {}).get(key) or ""

    def _passes(self, event: bytes) -> bool:
        self.pieces += event.startswith(b"data:") and not event.endswith(b"[DONE]")
        ends = b'"usage"' in event and b'"usage":null' not in event
        if not (ends or self.keep):
            return True
        found = _object(event.removeprefix(b"data:"))
        self._note(found)
        choices = found.get("choices", [])
        for choice in choices if self.keep else ():
            self._take(choice.get("delta", {}))
        return self._told or not (self.usage and ends and not choices)

    def _note(self, found: dict[str, Any]) -> None:
        if isinstance(usage := found.get("usage"), dict):
            self.usage = int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or 0)


def _opened(arguments: str) -> Any:
    try:
        return orjson.loads(arguments or "{}")
    except ValueError:
        return arguments


def _object(data: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(data)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
