"""Keeps conversations, where whoever runs the server has switched that on: redacted, sealed where there is a key, for their eyes only."""

import errno
import fcntl
import logging
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import Field

from src.core.config import Config
from src.core.sealing import CONVERSATIONS, Seal
from src.core.secrets import redact
from src.serve.access.strength import strong

LOG = logging.getLogger("mlx.serve")


class LogConversations(Config):
    """Keep conversations. Switch it on only with the consent of those who talk; a request with `store: false` is never kept."""

    consent: bool = Field(default=False)
    """Say that those who talk have agreed; nothing is kept without."""
    key_env: str = "MLX_LOG_KEY"
    """Environment variable with the key that seals what is kept; without it the files are readable to whoever owns them."""
    pii: bool = True
    """Mask e-mail addresses, telephone numbers, account numbers and the like."""


class Conversations:
    """Appends conversations to one file a day in a folder."""

    def __init__(self, settings: LogConversations, folder: Path) -> None:
        """Prepare.

        Raises:
            MlxError: Where the key is set and weak.
        """
        secret = os.environ.get(settings.key_env, "").strip()
        self._seal = Seal(strong(secret, settings.key_env) if secret else None, CONVERSATIONS)
        self._pii = settings.pii
        self._folder = folder
        if not secret:
            LOG.warning("conversations are kept unsealed: mlx token secret %s makes a key; add the line to .env", settings.key_env)

    def keep(
        self,
        who: str | None,
        request: str,
        messages: list[dict[str, Any]],
        answer: str,
        *,
        model: str | None = None,
        tools: Sequence[dict[str, Any]] = (),
        calls: Sequence[dict[str, Any]] = (),
    ) -> None:
        """Keep one conversation; a disk that does not take it is told in the log, and hurts no answer.

        Args:
            who: Id of the key, where there is one.
            request: Id of the request.
            messages: What the client sent.
            answer: What was answered, in words.
            model: What answered.
            tools: Tools that were offered.
            calls: Tools that were called in answer, their arguments as objects.
        """
        said = [self._clean({**message, "content": message.get("content") or ""}) for message in messages]
        row: dict[str, Any] = {"time": datetime.now(UTC).isoformat(timespec="seconds"), "id": request, "who": who, "model": model}
        answered = {"role": "assistant", "content": answer} | ({"tool_calls": list(calls)} if calls else {})
        row |= {"messages": [*said, self._clean(answered)], "tools": self._clean(list(tools))}
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            path = self._folder / f"{datetime.now(UTC):%Y-%m-%d}.jsonl"
            _append(path, self._seal.close(row).encode() + b"\n")
        except OSError as error:
            LOG.error("a conversation was not kept: %s", error.strerror)

    def _clean(self, value: Any) -> Any:
        """A value without secrets and what tells a person, whatever it is made of: the arguments of tool calls too."""
        if isinstance(value, dict):
            return {key: each if key == "role" else self._clean(each) for key, each in value.items()}
        if isinstance(value, list):
            return [self._clean(each) for each in value]
        return self._clean_text(value) if isinstance(value, str) else value

    def _clean_text(self, text: str) -> str:
        from src.text.pii import mask

        text = redact(text)
        return mask(text)[0] if self._pii else text


def _append(path: Path, line: bytes) -> None:
    """Append a line whole or not at all, whichever worker writes: half of one would spoil the next.

    Raises:
        OSError: Where the disk does not take it.
    """
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab", buffering=0) as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        size = os.fstat(stream.fileno()).st_size
        if os.write(stream.fileno(), line) < len(line):
            os.ftruncate(stream.fileno(), size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
