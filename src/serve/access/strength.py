"""Tells secrets that anybody could guess from those that nobody can."""

import math
import secrets
from collections import Counter

from src.core.errors import MlxError

BYTES = 32
_WORDS = (
    "changeme",
    "change-me",
    "change_me",
    "secret",
    "password",
    "example",
    "default",
    "insecure",
    "your-",
    "your_",
    "replace",
    "12345678",
)


def strong(value: str, name: str) -> str:
    """Return a secret that is good enough to sign with.

    Raises:
        MlxError: Where it is missing, short, or looks like one out of a manual.
    """
    fault = _fault(value)
    if fault:
        raise MlxError(f"{name} {fault}", f"mlx token secret {name} makes one; add the line it prints to .env")
    return value


def made() -> str:
    """A new secret of 256 random bits."""
    return secrets.token_urlsafe(BYTES)


def _fault(value: str) -> str:
    if not value:
        return "is not set"
    if len(value.encode()) < BYTES:
        return f"is shorter than {BYTES} bytes"
    if any(word in value.lower() for word in _WORDS):
        return "looks like a placeholder"
    shares = [count / len(value) for count in Counter(value).values()]
    if -sum(share * math.log2(share) for share in shares) < 3:  # bits a character; random hex has nearly 4
        return "repeats itself too much to be random"
    return ""
