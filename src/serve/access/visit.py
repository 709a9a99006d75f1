"""One request of somebody who was let in, from what it may need at most to what it used."""

import itertools
import secrets
from dataclasses import dataclass, field

from src.serve.access.caller import Caller
from src.serve.access.limits import Limits
from src.serve.access.meter import Meter
from src.serve.request import CLASSIFY, EMBEDDINGS, Call, RequestError

_PROCESS, _NUMBERS = secrets.token_hex(8), itertools.count()  # a ticket is its own among all servers
TEMPLATE = 256
"""Tokens that a chat template may add; beyond them no text has more tokens than bytes."""


@dataclass
class Visit:
    """A request under way."""

    caller: Caller
    limits: Limits
    request_id: str
    ticket: str = field(default_factory=lambda: f"{_PROCESS}{next(_NUMBERS):x}")
    model: str | None = None
    meter: Meter | None = None
    refused: str | None = None
    _prompt: int = 0

    def permit(self, model: str) -> None:
        """Check the model that is asked for; raises a RequestError (403) where it is not for this role."""
        self.model = model
        if not self.caller.role.may_ask(model):
            raise RequestError(403, f"this key may not ask {model!r}", kind="permission_error", code="model_not_allowed", param="model")

    async def reserve(self, call: Call, longest: int, *, added: int = 0) -> None:
        """Put aside the tokens that the answer may need at most.

        Args:
            call: What is asked.
            longest: The longest answer that the model gives, in tokens.
            added: Characters that are put before it here.

        Raises:
            RequestError: 429 or 400 where there are not so many tokens.
        """
        asked = call.body.get("max_completion_tokens") or call.body.get("max_tokens") or longest
        self._prompt = len(call.raw) + added + TEMPLATE
        answer = 0 if call.path in (EMBEDDINGS, CLASSIFY) else min(asked, longest)
        await self.limits.reserve(self.caller, self.ticket, self._prompt + answer)

    def used(self, status: int) -> tuple[int, int]:
        """Tokens of the question and of the answer; of an answer that was cut off the most it can have been."""
        if self.meter and self.meter.usage:
            return self.meter.usage
        begun = self.meter is not None and self.meter.pieces > 0 and status == 200
        return (self._prompt, self.meter.pieces) if begun and self.meter else (0, 0)
