"""Puts what memory has on a question into a request, and says in the answer's headers which files that was."""

import json
from typing import TYPE_CHECKING

from src.serve.fields import Message
from src.serve.memory.link import MemoryLink, with_memory
from src.serve.request import CHAT, Call
from src.serve.routing.said import last_said

if TYPE_CHECKING:
    from fastapi import APIRouter

    from src.serve.gateway.model import Model

TOLD, SOURCES = "x-mlx-memory", "x-mlx-sources"
OFF = b"off"
MOST_SOURCES = 1500  # characters of the header that lists them
LETTERS = 3  # bytes that a token of a request has at least, in the mean
AROUND = 64  # tokens that a chat template may put around a conversation
SHARE = 8  # an answer whose length nobody asks for gets this part of a context
LEAST = 100  # tokens below which no quotation is worth its frame


class Remember:
    """The step of memory in the path of a hot request."""

    def __init__(self, link: MemoryLink) -> None:
        self.link = link

    @property
    def state(self) -> str:
        """`ready`, or what it is instead."""
        return self.link.state

    async def run(self) -> None:
        """Keep the process that has the memory."""
        await self.link.keeper.run()

    def routes(self, max_body: int) -> "APIRouter":
        """Search, add and reload."""
        from src.serve.memory.routes import memory_routes

        return memory_routes(self.link, max_body)

    async def remember(self, call: Call, model: "Model") -> tuple[Call, dict[str, str]]:
        """The call with quoted passages, and headers that say which; without memory it is answered all the same.

        `x-mlx-memory` tells the number of files, `off` or `unavailable`; `x-mlx-sources` is a JSON list of file and headings.
        """
        if call.path != CHAT or not self.link.serves(model.name, call.visit.caller.role_name if call.visit else None):
            return call, {}
        if any(key == TOLD.encode() and value.strip().lower() == OFF for key, value in call.headers):
            return call, {TOLD: "off"}
        question = last_said(call.body["messages"])
        room = self._room(call, model)
        if not question or room < LEAST:
            return call, {TOLD: "0 files"}
        tokenizer = model.tokenizer / "tokenizer.json" if model.tokenizer else None
        found = await self.link.recall(question, budget=room, tokenizer=tokenizer)
        if found is None:
            return call, {TOLD: "unavailable"}
        files = f"{len(found.files)} file{'' if len(found.files) == 1 else 's'}"
        return _with(call, found.text), {TOLD: files, SOURCES: _listed(found.sources)}

    def _room(self, call: Call, model: "Model") -> int:
        """Tokens that a quotation may have: what the settings say, or what the model's context leaves beside question and answer."""
        context = model.part.context
        if context is None:
            return self.link.config.tokens
        asked = call.body.get("max_completion_tokens") or call.body.get("max_tokens") or min(model.longest, context // SHARE)
        return min(self.link.config.tokens, context - AROUND - len(call.raw) // LETTERS - asked)


def _with(call: Call, text: str) -> Call:
    before: list[dict[str, object]] = call.body["messages"]
    messages = with_memory(before, text)
    if messages is before:
        return call
    made = call.changed(messages=messages)
    made.bare = call
    said = [
        Message(role="user", content=new["content"]) if new is not old else kept
        for new, old, kept in zip(messages, before, call.fields.messages, strict=True)  # type: ignore[union-attr]
    ]
    made.fields = call.fields.model_copy(update={"messages": said})
    return made


def _listed(sources: tuple[str, ...]) -> str:
    """A JSON list in ASCII, as headers have to be; as many sources as fit."""
    shown = [source[:200] for source in sources]
    while shown and len(json.dumps(shown)) > MOST_SOURCES:
        shown.pop()
    return json.dumps(shown)
