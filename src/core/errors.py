"""Errors a user can mend. Anything else is a bug, and keeps its traceback."""

from collections.abc import Iterable
from difflib import get_close_matches


class MlxError(Exception):
    """Says what is wrong and where; `hint` is the next command or edit that mends it."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class ConfigError(MlxError):
    """A config that does not fit its model; one line per fault."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `; did you mean 'x'?`, or the whole choice where nothing is close."""
    choice = sorted(known)
    if close := get_close_matches(word, choice, n=1):
        return f"; did you mean {close[0]!r}?"
    return f"; choose from {', '.join(choice)}" if choice else ""
