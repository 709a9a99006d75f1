"""Makes keys and signed tokens for people to use."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from src.core.errors import MlxError
from src.serve.access.identify import tokens_of
from src.serve.access.keys import Key, Keys
from src.serve.access.settings import Access


def make_key(access: Access, folder: Path, *, name: str, role: str, days: float | None) -> tuple[Key, str]:
    """Make a key, good for ever unless `days` says how long; return what is kept and what is shown once."""
    return Keys(access.keys_at(folder)).create(name=name, role=role, days=days)


def make_token(access: Access, folder: Path, *, name: str, role: str, days: float | None) -> tuple[Key, str]:
    """Sign a token; return what is kept and what is shown once.

    Raises:
        MlxError: Where no tokens of ours are taken, or the secret is weak, or the time is longer than the server allows.
    """
    tokens = tokens_of(access)
    if access.jwt is None or tokens is None or access.jwt.algorithm != "HS256":
        raise MlxError(
            "serve.access.jwt does not take tokens that are made here", "set serve.access.jwt: {algorithm: HS256}, or leave --jwt out"
        )
    days = days or min(30.0, access.jwt.max_days)
    if days > access.jwt.max_days:
        raise MlxError(f"serve.access.jwt.max_days is {access.jwt.max_days:g}", f"--days {access.jwt.max_days:g}, or raise it")
    number, text = tokens.make(subject=name or "someone", role=role, days=days)
    now = datetime.now(UTC)
    key = Key(number, name, role, now.isoformat(), (now + timedelta(days=days)).isoformat())
    Keys(access.keys_at(folder)).note(key)
    return key, text
