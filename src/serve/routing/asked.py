"""What a route is chosen by: the few facts of a request that rules and weights look at."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from src.serve.request import Call
from src.serve.routing.estimate import estimate
from src.serve.routing.said import first_said, last_said

_IMAGES = ("image_url", "input_image")


class Asked:
    """A request, as far as routing is concerned; a fact is looked for when it is first wanted, and most never are."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self.model = call.model
        """As the client wrote it."""
        self.role = call.visit.caller.role_name if call.visit else None
        self.user = call.who or ""
        """Who asks; empty where everybody may."""

    @cached_property
    def prompt(self) -> str:
        """What a person said last."""
        return last_said(self._messages) if self._messages else _plain(self._call.body.get("prompt", self._call.body.get("input")))

    @cached_property
    def opening(self) -> str:
        """What a person said first: with the user it names the conversation."""
        return first_said(self._messages) if self._messages else self.prompt

    @cached_property
    def tokens(self) -> int:
        """Of messages and tools, estimated: which tokenizer counts is known only once a model is chosen."""
        return estimate(self._call.body)

    @property
    def tools(self) -> bool:
        """Whether any are offered."""
        return bool(self._call.body.get("tools")) and self._call.body.get("tool_choice") != "none"

    @cached_property
    def images(self) -> bool:
        """Whether any are shown."""
        return any(_shows(message) for message in self._messages)

    @cached_property
    def headers(self) -> Mapping[str, str]:
        """By names in lower case."""
        return {key.decode("latin-1").lower(): value.decode("latin-1") for key, value in self._call.headers}

    @property
    def _messages(self) -> list[Any]:
        found = self._call.body.get("messages")
        return found if isinstance(found, list) else []


def _plain(prompt: Any) -> str:
    """Of completions and embeddings: a text, or the last of several."""
    found = prompt[-1] if isinstance(prompt, list) and prompt else prompt
    return found[-20_000:] if isinstance(found, str) else ""


def _shows(message: Any) -> bool:
    content = message.get("content") if isinstance(message, dict) else None
    parts = content if isinstance(content, list) else ()
    return any(isinstance(part, dict) and part.get("type") in _IMAGES for part in parts)
