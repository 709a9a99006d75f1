"""Keeps every prompt within its model's context: counted, openly shortened or refused, never cut in silence."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

from src.serve.request import CHAT, COMPLETIONS, Call, UnavailableError
from src.serve.routing.estimate import PER_IMAGE, estimate, images
from src.serve.routing.trim import cuts, left

if TYPE_CHECKING:
    from src.serve.gateway.model import Model
    from src.serve.routing.tokens import Tokens

LOG = logging.getLogger("mlx.routing")
_AROUND = 2048
"""Tokens that a chat template may put around messages, beyond those of the JSON: a default system prompt, instructions for tools."""
_DOUBT = 1.6  # by how much an estimate may be too high: English has half as many tokens again in it as there are
_NEAR = 0.5
"""Part of the context from which on an estimate is too little: the engine is asked to count, where it can."""
_SHARE = 8  # an answer whose length nobody asks for gets this part of the context at least


@dataclass(frozen=True, slots=True)
class Count:
    """Tokens of a prompt."""

    tokens: int
    exact: bool

    def __str__(self) -> str:
        return f"{self.tokens}" if self.exact else f"{self.tokens}; estimated"


class Budget:
    """Counts prompts before they are sent. What surely fits is not counted: no text has more tokens than bytes."""

    def __init__(self) -> None:
        self._tokens: dict[Path, Tokens | None] = {}

    async def fit(self, call: Call, model: "Model") -> tuple[Call, dict[str, str]]:
        """The call as the model can take it, and headers that say what was done.

        Raises:
            UnavailableError: 400 where the prompt is too long for this model; one with a longer context may answer.
        """
        context = model.part.context
        if context is None or call.path not in (CHAT, COMPLETIONS):
            return call, {}
        answer = _answer(call, model, context)
        if len(call.raw) + _AROUND + answer <= context:
            return call, {}
        tokens = await self._tokenizer(model.tokenizer)
        counts = partial(counted, tokens=tokens, ask=getattr(model.engine, "count", None), near=int(context * _NEAR))
        count = await counts(call)
        trims = model.part.too_long == "trim" and call.path == CHAT
        doubt = 1.0 if count.exact or trims else _DOUBT  # what may fit is sent: the engine is told not to cut it, and its count is compared
        if count.tokens / doubt + answer <= context:
            return _noted(call, count), {"x-mlx-tokens": str(count)}
        if not trims:
            raise _too_long(model.name, context, count, answer)
        return await _trimmed(call, counts, model.name, context, answer, count)

    async def _tokenizer(self, folder: Path | None) -> "Tokens | None":
        if folder is None:
            return None
        if folder not in self._tokens:
            self._tokens[folder] = await asyncio.to_thread(_loaded, folder)
        return self._tokens[folder]


Ask = Callable[[Call], Awaitable[int | None]]
"""Has an engine count; None where it cannot."""


async def counted(call: Call, *, tokens: "Tokens | None", ask: Ask | None = None, near: int = 0) -> Count:
    """The tokens of a call's prompt; images are always estimated.

    Args:
        call: What is asked.
        tokens: The model's tokenizer, where it is at hand.
        ask: Counts where it is not, and where an estimate says `near` or more.
        near: From there on the limit may be meant.
    """
    body, shown = call.body, images(call.body)
    try:
        if tokens and "messages" in body:
            return Count(await asyncio.to_thread(tokens.chat, body) + shown * PER_IMAGE, exact=not shown)
        if tokens:
            return Count(await asyncio.to_thread(tokens.plain, str(body.get("prompt", ""))), exact=True)
    except ValueError as error:
        LOG.debug("not counted here: %s", error)
    guess = estimate(body)
    found = await ask(call) if ask and guess >= near and not shown else None
    return Count(guess, exact=False) if found is None else Count(found, exact=True)


async def _trimmed(
    call: Call, counts: Callable[[Call], Awaitable[Count]], name: str, context: int, answer: int, before: Count
) -> tuple[Call, dict[str, str]]:
    """Leave out as few of the oldest pieces as it takes."""
    messages = call.body["messages"]
    pieces = cuts(messages)
    low, high = 1, len(pieces)
    best: tuple[list[int], Count] | None = None
    while low <= high:
        middle = (low + high) // 2
        kept = left(messages, pieces[:middle])
        count = await counts(call.with_messages(kept))
        if count.tokens + answer <= context:
            best, high = (kept, count), middle - 1
        else:
            low = middle + 1
    if best is None:
        raise _too_long(name, context, before, answer, "; its last turn alone is too long" if pieces else "")
    kept, count = best
    told = {"x-mlx-trimmed": f"{len(messages) - len(kept)} of {len(messages)} messages", "x-mlx-tokens": str(count)}
    return _noted(call.with_messages(kept), count), told


def _noted(call: Call, count: Count) -> Call:
    """Let the engine compare what it reads; what an image takes is too much of a guess for that."""
    return call if images(call.body) else call.counted(count.tokens, exact=count.exact)


def _answer(call: Call, model: "Model", context: int) -> int:
    """Tokens to keep free for the answer: those that are asked for, else a share of the context."""
    asked = call.body.get("max_completion_tokens") or call.body.get("max_tokens")
    longest = model.part.max_new_tokens or model.longest
    return min(asked, model.part.max_new_tokens or asked) if asked else min(longest, ceil(context / _SHARE))


def _too_long(name: str, context: int, count: Count, answer: int, more: str = "") -> UnavailableError:
    said = f"the prompt has {'' if count.exact else 'about '}{count.tokens:,} tokens, and {answer:,} are kept for the answer{more}"
    error = UnavailableError(
        400, f"{name}: this model's maximum context length is {context:,} tokens; {said}", code="context_length_exceeded", param="messages"
    )
    error.tries = 0
    return error


def _loaded(folder: Path) -> "Tokens | None":
    from src.core.errors import MlxError
    from src.serve.routing.tokens import Tokens

    try:
        return Tokens(folder)
    except MlxError as error:
        LOG.warning("%s; tokens are estimated", error)
        return None
