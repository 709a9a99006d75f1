"""A backend that answers by rules: for trying a project out, and for tests."""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator

from src.core.config import Config
from src.llm.client import Client, Message, Reply


def pattern(text: str) -> str:
    """Fail on what is no regular expression."""
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"{text!r} is no regular expression: {error}") from None
    return text


class Rule(Config):
    """One answer, and what calls for it."""

    match: Annotated[str, AfterValidator(pattern)]
    """Regular expression that the last user message has to hold; start it with (?i) to pass over case."""
    reply: str
    """The answer."""


class ScriptedBackend(Config):
    """Answers from the last user message by the first rule that fits; no model, no network, always the same."""

    type: Literal["scripted"] = "scripted"
    """Answer by rules."""
    rules: tuple[Rule, ...] = ()
    """Tried in order."""
    default: str = ""
    """The answer where no rule fits."""

    @property
    def name(self) -> str:
        """What to call the model."""
        return "scripted"

    def open(self) -> Client:
        """Connect."""
        return ScriptedClient(self)


class ScriptedClient(Client):
    """Applies the rules."""

    def __init__(self, backend: ScriptedBackend) -> None:
        self.rules = [(re.compile(rule.match), rule.reply) for rule in backend.rules]
        self.default = backend.default

    def chat(
        self,
        messages: Sequence[Message],
        *,
        max_tokens: int,
        temperature: float | None = 0,
        seed: int | None = None,
        schema: Mapping[str, Any] | None = None,
    ) -> Reply:
        """Return the reply of the first rule that the last user message fits."""
        asked = next((str(message["content"]) for message in reversed(messages) if message["role"] == "user"), "")
        return Reply(next((reply for rule, reply in self.rules if rule.search(asked)), self.default))

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
        """Answer at once, without a thread."""
        return self.chat(messages, max_tokens=max_tokens)

    def close(self) -> None:
        """Nothing to let go of."""
