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

    def feed(self, data: bytes) -> bytes:
        """Take bytes of the answer; return those to pass on."""
        if not self._stream:
            self._rest += data
            return data
        *events, self._rest = (self._rest + data).split(b"\n\n")
        return b"".join(event + b"\n\n" for event in events if self._passes(event))

    def end(self) -> bytes:
        """The answer is whole; return what is still to be passed on."""
        rest, self._rest = self._rest, b""
        if self._stream:
            return rest
        found = _object(rest)
        self._note(found)
        self._text += [choice["message"].get("content") or "" for choice in found.get("choices", [])] if self.keep else []
        return b""

    @property
    def text(self) -> str:
        """The answer's text so far, tool calls left out."""
        return "".join(self._text)

    def _passes(self, event: bytes) -> bool:
        ends = b'"usage"' in event and b'"usage":null' not in event
        found = _object(event.removeprefix(b"data:")) if ends or self.keep else {}
        self._note(found)
        choices = found.get("choices", [])
        self.pieces += event.startswith(b"data:") and not event.endswith(b"[DONE]")
        self._text += [choice.get("delta", {}).get("content") or "" for choice in choices] if self.keep else []
        return self._told or not (self.usage and ends and not choices)

    def _note(self, found: dict[str, Any]) -> None:
        if isinstance(usage := found.get("usage"), dict):
            self.usage = int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or 0)


def _object(data: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(data)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
