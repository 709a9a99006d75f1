"""What talking to a model comes to, whichever backend it stands behind: a client, its replies and its errors."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from src.core.errors import MlxError

Message = dict[str, Any]
"""An OpenAI chat message: `role` and `content`."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens that a call was billed for; 0 where the backend does not say."""

    prompt: int = 0
    completion: int = 0


@dataclass(frozen=True, slots=True)
class Reply:
    """What the model said."""

    text: str
    usage: Usage = Usage()
    finish: str = "stop"
    """`stop`, or `length` where `max_tokens` cut the text."""


class BackendError(MlxError):
    """A call that got no reply."""

    def __init__(
        self,
        message: str,
        hint: str = "",
        *,
        final: bool = False,
        of_request: bool = False,
        transient: bool = False,
        throttled: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, hint)
        self.final = final
        """Whether the next call would fail for the same reason: no key, no such model, nobody listens."""
        self.of_request = of_request
        """Whether it lies in what was asked: too long, not allowed."""
        self.transient = transient
        """Whether the same call may fare better later."""
        self.throttled = throttled
        """Whether the server says that there are too many calls."""
        self.retry_after = retry_after
        """Seconds after which the server wants to be asked again, if it says so."""


class Client(ABC):
    """An open connection to a model; safe to call from several threads, closed by the end of its `with` block."""

    @abstractmethod
    def chat(
        self,
        messages: Sequence[Message],
        *,
        max_tokens: int,
        temperature: float | None = 0,
        seed: int | None = None,
        schema: Mapping[str, Any] | None = None,
    ) -> Reply:
        """Return the model's answer to a dialogue; try again, as often as the backend says, where that may help.

        Args:
            messages: The dialogue so far, the user's message last.
            max_tokens: Longest answer.
            temperature: None leaves it to the model.
            seed: For backends that can repeat a draw.
            schema: JSON Schema that the answer is held to, by servers that can do that.

        Raises:
            BackendError: Where there is none.
        """

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
        """Do as `chat`, beside other calls and in one try: when to try again is the caller's choice.

        With `tools` (OpenAI's functions) the model may call one; the calls are then part of the text, as `<tool_call>` blocks.
        """
        if tools:
            raise BackendError("this backend takes no tools", "measure tool calls with another backend", of_request=True)
        return await asyncio.to_thread(self.chat, messages, max_tokens=max_tokens, temperature=temperature, seed=seed, schema=schema)

    async def leave(self) -> None:  # noqa: B027 (most hold nothing)
        """Let go of what `ask` holds, in the loop that it ran in."""

    @abstractmethod
    def close(self) -> None:
        """Let go of connections."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
