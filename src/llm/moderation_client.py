"""Calls of a moderation endpoint, answered as a model that was told to answer with JSON would."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from src.llm.client import BackendError, Message, Reply
from src.llm.openai_client import OpenAIClient


class ModerationClient(OpenAIClient):
    """Asks whether what the user said last is harmful: `{"flagged": true, "categories": ["violence"]}`."""

    def chat(
        self,
        messages: Sequence[Message],
        *,
        max_tokens: int,
        temperature: float | None = 0,
        seed: int | None = None,
        schema: Mapping[str, Any] | None = None,
    ) -> Reply:
        """Return the verdict, after as many tries as it takes."""
        create: Any = self.sdk.moderations.create
        with self._explained(None):
            found = create(model=self.model, input=_last(messages))
        return self._verdict(found)

    async def ask(
        self,
        messages: Sequence[Message],
        *,
        max_tokens: int,
        temperature: float | None = 0,
        seed: int | None = None,
        schema: Mapping[str, Any] | None = None,
        tools: Sequence[Mapping[str, Any]] = (),
    ) -> Reply:
        """Do as `chat`, in one try."""
        if tools:
            raise BackendError("a moderation endpoint takes no tools", "measure tool calls with another backend", of_request=True)
        with self._lane() as lane, self._explained(None):
            create: Any = lane.moderations.create
            found = await create(model=self.model, input=_last(messages))
        return self._verdict(found)

    def _verdict(self, found: Any) -> Reply:
        """Read a verdict. The SDK checks none: an error page, or a body that only looks right, comes this far."""
        try:
            result = found.results[0]
            flagged, categories = bool(result.flagged), result.categories.model_dump(by_alias=True)
        except (AttributeError, IndexError, TypeError):
            said = " ".join(str(found).split())[:200]
            raise BackendError(f"{self.base_url}: the answer is no moderation: {said}", "mend base_url", transient=True) from None
        return Reply(json.dumps({"flagged": flagged, "categories": sorted(name for name, so in categories.items() if so)}))


def _last(messages: Sequence[Message]) -> str:
    return next((str(message["content"]) for message in reversed(messages) if message["role"] == "user"), "")
