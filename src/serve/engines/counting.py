"""Has the server behind us count a prompt's tokens, where it can: by its own tokenizer and chat template, so exactly."""

import json
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from src.serve.request import CHAT, Call

Post = Callable[[str, Mapping[str, Any]], Awaitable[tuple[int, bytes]]]
"""POSTs JSON to a path from the server's root; status and answer, or an OSError."""
REST = 60.0
"""Seconds in which a server that did not answer is not asked again."""
NEVER = 3600.0
"""Seconds in which one that cannot count is not."""
_FIELDS = ("messages", "tools", "tool_choice", "chat_template_kwargs")


class Counting:
    """Counts by one server, in the way that it turned out to know: vLLM's or llama.cpp's."""

    def __init__(self, post: Post, clock: Callable[[], float] = time.monotonic) -> None:
        """`post` reaches the server."""
        self._post, self._clock = post, clock
        self._ways: tuple[Callable[[Call, str], Awaitable[int | None]], ...] = (self._by_vllm, self._by_llama)
        self._until = 0.0

    async def count(self, call: Call, model: str) -> int | None:
        """Tokens of a call's prompt; None where the server cannot tell, or not now.

        Args:
            call: A chat or a completion.
            model: What the server calls the model.
        """
        if self._clock() < self._until:
            return None
        try:
            for way in self._ways:
                if (found := await way(call, model)) is not None:
                    self._ways = (way,)
                    return found
        except OSError:
            self._until = self._clock() + REST
            return None
        if len(self._ways) > 1:  # else it counts, and has something against this prompt
            self._until = self._clock() + NEVER
        return None

    async def _by_vllm(self, call: Call, model: str) -> int | None:
        asked = _chat(call) | {"add_generation_prompt": True} if call.path == CHAT else {"prompt": call.body.get("prompt", "")}
        found = await self._told("/tokenize", {"model": model, **asked})
        count = found.get("count")
        return count if isinstance(count, int) else None

    async def _by_llama(self, call: Call, model: str) -> int | None:
        text: Any = call.body.get("prompt", "")
        if call.path == CHAT:
            text = (await self._told("/apply-template", {"model": model, **_chat(call)})).get("prompt")
        if not isinstance(text, str):
            return None
        found = await self._told("/tokenize", {"model": model, "content": text, "add_special": True, "parse_special": True})
        tokens = found.get("tokens")
        return len(tokens) if isinstance(tokens, list) else None

    async def _told(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """What the server answers; nothing where it has something against it."""
        status, words = await self._post(path, body)
        if status >= 500:
            raise ConnectionError(f"{path} answered {status}")
        try:
            found = json.loads(words) if status == 200 else {}
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}


def _chat(call: Call) -> dict[str, Any]:
    return {name: call.body[name] for name in _FIELDS if call.body.get(name) is not None}
