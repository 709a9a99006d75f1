"""The source `gateway_log`: conversations that a server kept with consent, so that the next dataset is made from them."""

import json
import os
import re
from collections.abc import Iterable, Iterator
from datetime import date
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from src.core.config import Config, InputPath
from src.core.ledger import Drop
from src.core.records import Record
from src.core.sealing import CONVERSATIONS, Seal, SealError
from src.core.secrets import redact
from src.scrape.source import Piece
from src.text.pii import mask

_QUOTED = re.compile(r"\A<memory>\n.*?\n</memory>\n\n", re.DOTALL)
LONGEST = 16 << 20
"""Bytes above which a line is dropped."""


class GatewayLogSource(Config):
    """Conversations of `mlx serve` (serve.log_conversations), a record each, redacted; build's source `chats` makes examples of them."""

    type: Literal["gateway_log"] = "gateway_log"
    folder: InputPath
    """Where they lie: data/NAME/serve/conversations."""
    key_env: str = "MLX_LOG_KEY"
    """Environment variable with the key that seals them; records are written in the clear."""
    pii: bool = True
    """Mask e-mail addresses, telephone numbers, account numbers and the like, in tool calls too."""
    memory: bool = True
    """Leave quoted files of serve.memory in the users' turns, as the model read them; else answers stand without their grounds."""
    since: date | None = None
    """The first day that is read; the days are those of UTC."""
    until: date | None = None
    """The last day that is read."""
    models: tuple[str, ...] = ()
    """Models whose answers are taken, by the name that clients used; any if empty."""
    meta: dict[str, str] = Field(default_factory=dict)
    """What to note about every record besides, such as `licence`."""

    def files(self) -> Iterable[Path]:
        """The days' files, the first day first."""
        first, last = str(self.since or ""), str(self.until or "9999")
        return [path for path in sorted(self.folder.glob("*.jsonl")) if first <= path.stem <= last]

    def pieces(self, work: Path, cache: Path) -> Iterator[Piece | Drop]:
        """Yield a piece a day; of a conversation that was gone on with only the last state is kept."""
        files = list(self.files())
        for path in files:
            yield Piece(path.as_posix(), partial(self._records, path, files))

    def _records(self, path: Path, files: list[Path]) -> Iterator[Record | Drop]:
        """The records of a day; a conversation may go on until the day after."""
        at = files.index(path)
        continued = {
            mark for each in files[at : at + 2] for row in self._rows(each) if not isinstance(row, Drop) for mark in _earlier(row[1])
        }
        for found in self._rows(path):
            yield found if isinstance(found, Drop) else self._record(*found, continued)

    def _record(self, name: str, row: dict[str, Any], continued: set[bytes]) -> Record | Drop:
        messages = row["messages"]
        if self.models and row.get("model") not in self.models:
            return Drop(name, "other_model", f"answered by {row.get('model')!r}")
        if not (messages[-1].get("content") or messages[-1].get("tool_calls")):
            return Drop(name, "no_answer", "the answer has no text")
        if _mark(messages) in continued:
            return Drop(name, "continued", "a later line has all of it and more")
        clean = [self._clean(message if self.memory else without_memory(message)) for message in messages]
        text = "\n\n".join(message["content"] for message in clean if isinstance(message.get("content"), str) and message["content"])
        told = {key: str(row[key]) for key in ("time", "model") if row.get(key)}
        tools = {"tools": self._clean(row["tools"])} if row.get("tools") else {}
        return Record(name, text, {"source": "gateway_log", **told, "messages": clean, **tools, **self.meta})

    def _rows(self, path: Path) -> Iterator[tuple[str, dict[str, Any]] | Drop]:
        """The lines of a file, opened."""
        seal = Seal(os.environ.get(self.key_env, "").strip() or None, CONVERSATIONS)
        with path.open("rb") as stream:
            for number, line in enumerate(iter(partial(stream.readline, LONGEST), b""), 1):
                name = f"{path.as_posix()}:{number}"
                try:
                    row = seal.open(line.decode("utf-8", "replace"))
                except SealError as error:
                    yield Drop(name, "sealed" if "sealed" in str(error) else "bad_line", f"{error} ({self.key_env})")
                    continue
                yield (name, row) if _is_conversation(row) else Drop(name, "bad_line", "no messages")

    def _clean(self, value: Any) -> Any:
        """A message without secrets and what tells a person."""
        if isinstance(value, dict):
            return {key: each if key == "role" else self._clean(each) for key, each in value.items()}
        if isinstance(value, list):
            return [self._clean(each) for each in value]
        if not isinstance(value, str):
            return value
        return mask(redact(value))[0] if self.pii else redact(value)


def without_memory(message: dict[str, Any]) -> dict[str, Any]:
    """A message without what the server put before it from its memory; every line of that stands behind a bar but the last."""
    content = message.get("content")
    return {**message, "content": _QUOTED.sub("", content)} if isinstance(content, str) and message.get("role") == "user" else message


def _is_conversation(row: dict[str, Any]) -> bool:
    messages = row.get("messages")
    return isinstance(messages, list) and len(messages) > 1 and all(isinstance(each, dict) for each in messages)


def _earlier(row: dict[str, Any]) -> Iterator[bytes]:
    """Marks of the states that a conversation went through before: a client sends all of it again each time."""
    for place, message in enumerate(row["messages"][:-1], 1):
        if message.get("role") == "assistant":
            yield _mark(row["messages"][:place])


def _mark(messages: list[dict[str, Any]]) -> bytes:
    said = [(message.get("role"), without_memory(message).get("content")) for message in messages]
    return blake2b(json.dumps(said).encode(), digest_size=16).digest()
