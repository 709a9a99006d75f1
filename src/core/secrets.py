"""Secrets come from the environment and `.env`, and never go into a log, manifest or error."""

import logging
import os
import re
from pathlib import Path
from typing import Any

from src.core.errors import MlxError

_LOOKS_SECRET = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD|CREDENTIALS?)$")
_IN_ADDRESS = re.compile(r"://[^/@:\s]*:([^/@\s]+)@")
_MASK = "***"
_known: tuple[dict[Any, Any], re.Pattern[str] | None] = ({}, None)


def load_env(folder: Path | None = None) -> None:
    """Read `.env` in `folder` (the working folder if none); what the environment already says stays."""
    from dotenv import load_dotenv

    load_dotenv((folder or Path.cwd()) / ".env", override=False)


def secret(name: str, why: str = "") -> str:
    """Return the environment variable `name`, or say how to set it."""
    if value := os.environ.get(name, "").strip():
        return value
    raise MlxError(f"{name} is not set{f': {why}' if why else ''}", f"add {name}=… to .env, or export it")


def names() -> list[str]:
    """Environment variables that look like secrets, by name only."""
    return sorted(name for name in os.environ if _LOOKS_SECRET.search(name.upper()) and os.environ[name])


def redact(text: str) -> str:
    """Put `***` where a secret's value stands."""
    pattern = _secrets()
    return pattern.sub(_MASK, text) if pattern else text


def _secrets() -> re.Pattern[str] | None:
    """What the values of secrets look like; looked up again once the environment is another, since servers ask at every line."""
    global _known
    now = getattr(os.environ, "_data", None) or dict(os.environ)
    if now != _known[0]:
        values = {value for value in (*(os.environ[name].strip() for name in names()), *_in_addresses()) if len(value) >= 6}
        longest_first = sorted(values, key=len, reverse=True)
        _known = (dict(now), re.compile("|".join(map(re.escape, longest_first))) if values else None)
    return _known[1]


def _in_addresses() -> list[str]:
    """Passwords within addresses, as in redis://:password@host, whatever the variable is called."""
    return [found[1] for value in os.environ.values() if "@" in value and (found := _IN_ADDRESS.search(value))]


class Redact(logging.Filter):
    """Keeps secrets out of what a log handler writes, tracebacks included."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite the record's message without secrets; never drops it."""
        if getattr(record, "redacted", False):  # by the handler before
            return True
        record.redacted = True
        record.msg, record.args = redact(record.getMessage()), None
        if record.exc_info and not record.exc_text:
            record.exc_text = redact(logging.Formatter().formatException(record.exc_info))
        return True
