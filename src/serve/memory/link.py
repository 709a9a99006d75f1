"""What the server knows of its memory: asks the process that has it, and never waits long, nor fails for it."""

import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from src.serve.beside.keeper import Keeper
from src.serve.beside.line import LineError
from src.serve.memory import Memory
from src.serve.request import RequestError

SOCKET = "memory.sock"
"""Name of the socket of its process, in the folder of the server's output."""
SLOW = 3
"""Answers late in a row, after which nobody waits for a while."""
REST = 5.0
"""Seconds of that while."""
LONGEST_QUESTION = 4000
"""Characters of a question that are looked at; sentence models read fewer."""
WORK = 60.0
"""Seconds that a reload may take."""
STATUS = {"exists": 409, "too_large": 413, "bad_name": 400, "empty": 400, "unwritable": 409, "late": 503, "down": 503, "unavailable": 503}


@dataclass(frozen=True, slots=True)
class Recalled:
    """What memory has on a question."""

    text: str
    """Quoted; empty where it has nothing, or nothing fits."""
    sources: tuple[str, ...]
    """File and headings of each passage that is quoted."""

    @property
    def files(self) -> tuple[str, ...]:
        """The files that are quoted, each once."""
        return tuple(dict.fromkeys(source.split(" > ")[0] for source in self.sources))


class MemoryLink:
    """A server's memory."""

    def __init__(self, config: Memory, project: str, *, path: Path, log: Path, embedder: Path | None = None) -> None:
        """Prepare; `keeper.run` starts its process, with a socket at `path`; its embedder has one at `embedder`, else it is inside."""
        settings = {"project": project, "memory": config.model_dump(mode="json"), "embedder": str(embedder) if embedder else None}
        self.config = config
        self.keeper = Keeper("src.serve.memory.process", settings, path=path, log=log)
        self._late = 0
        self._rests_until = 0.0

    @property
    def state(self) -> str:
        """`ready`, or what it is instead."""
        return self.keeper.state

    @property
    def told(self) -> dict[str, Any]:
        """How many files and passages it has, as far as that is known."""
        return {key: self.keeper.told[key] for key in ("files", "passages") if key in self.keeper.told}

    def serves(self, model: str, role: str | None) -> bool:
        """Whether answers of `model` to those of `role` draw on memory."""
        of_model = self.config.models is None or model in self.config.models
        return of_model and (self.config.roles is None or role is None or role in self.config.roles)

    async def recall(self, question: str, *, budget: int, tokenizer: Path | None = None, special: Collection[str] = ()) -> Recalled | None:
        """What memory has on a question, as quoted data of at most `budget` tokens; None where it cannot be had in time.

        Args:
            question: The user's last message.
            budget: Most tokens.
            tokenizer: The `tokenizer.json` of the model that will read it; tokens are estimated without.
            special: Special tokens of that model.
        """
        if time.monotonic() < self._rests_until:
            return None
        asked: dict[str, Any] = {"question": question[:LONGEST_QUESTION], "budget": budget, "special": list(special)}
        try:
            found = await self.keeper.line.ask(
                "recall", within=self.config.deadline, tokenizer=str(tokenizer) if tokenizer else None, **asked
            )
        except LineError as error:
            self._late = self._late + 1 if error.why == "late" else 0
            if self._late >= SLOW:
                self._rests_until = time.monotonic() + REST
            return None
        self._late = 0
        return Recalled(found["text"], tuple(found["sources"]))

    async def ask(self, do: str, *, within: float = WORK, **what: Any) -> dict[str, Any]:
        """Search, add or reload, for a client.

        Raises:
            RequestError: With the reason; 503 where memory is not there.
        """
        try:
            return await self.keeper.line.ask(do, within=within, **what)
        except LineError as error:
            status = STATUS.get(error.why, 500)
            if status < 500:
                raise RequestError(status, str(error), code=error.why) from None
            raise RequestError(
                status,
                "memory is unavailable; try again soon",
                kind="server_error",
                code="memory_unavailable",
                headers={"retry-after": "5"},
            ) from None


def with_memory(messages: list[dict[str, Any]], text: str) -> list[dict[str, Any]]:
    """Put quoted memory before what the user says last; it gets no message and so no role of its own.

    A conversation in which no user speaks stays as it is.
    """
    places = [place for place, message in enumerate(messages) if message.get("role") == "user"]
    if not text or not places:
        return messages
    last = places[-1]
    content = messages[last].get("content")
    joined = [{"type": "text", "text": f"{text}\n\n"}, *content] if isinstance(content, list) else f"{text}\n\n{content or ''}"
    return [*messages[:last], {**messages[last], "content": joined}, *messages[last + 1 :]]
