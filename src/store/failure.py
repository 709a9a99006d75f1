"""Makes one kind of error of all that can go wrong with a store, so that callers can go on without it."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from src.core.errors import MlxError

P = ParamSpec("P")
T = TypeVar("T")
_LONGEST = 300  # characters of what a library says


class StoreError(MlxError):
    """A store that is out of reach, in use, damaged or full: whoever asked it does without."""


def failing(what: str, hint: str = "") -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Turn whatever a function raises, the panics of Rust libraries too, into a StoreError that says what failed."""

    def mark(function: Callable[P, T]) -> Callable[P, T]:
        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> T:
            try:
                return function(*args, **kwargs)
            except MlxError:
                raise
            except BaseException as error:
                if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
                    raise  # Ctrl-C and the like
                said = " ".join(str(error).split())[:_LONGEST] or type(error).__name__
                raise StoreError(f"{what}: {said}", hint) from error

        return call

    return mark


def missing(kind: str, package: str) -> MlxError:
    """Say which extra a store needs."""
    return MlxError(f"store {kind!r} needs the package {package}", f"uv sync --extra {kind}, or take store type numpy, which needs nothing")
