"""Reads JSON that may be anything at all: what would break what comes after is refused with its reason."""

import json
import math
from collections.abc import Iterator, Sequence
from typing import Any

import orjson

from src.serve.request import RequestError

DEPTH = 64  # levels of JSON within JSON


def read_json(raw: bytes) -> Any:
    """Read a body.

    Raises:
        RequestError: 400, where it is no JSON, or JSON that others could not read or write again.
    """
    try:
        value = orjson.loads(raw)  # takes no NaN, no infinity, no half characters, nothing but UTF-8
    except ValueError:
        return _read_slowly(raw)
    if raw.count(b"[") + raw.count(b"{") > DEPTH:  # else it cannot be deep
        sound(value)
    return value


def _read_slowly(raw: bytes) -> Any:
    """Read what the quick reader refuses: to say why, or since Python takes larger numbers."""
    try:
        value = json.loads(raw.decode("utf-8"), parse_constant=_no_constant, parse_float=_finite)
    except UnicodeDecodeError as error:
        raise RequestError(400, f"the body is not UTF-8: {error.reason} at byte {error.start}") from None
    except RecursionError:
        raise RequestError(400, f"the JSON is nested deeper than {DEPTH} levels") from None
    except ValueError as error:
        raise RequestError(400, f"the body is not valid JSON: {str(error)[:200]}") from None
    sound(value)
    return value


def opened(arguments: str) -> Any:
    """The arguments of a call, which are JSON in a string."""
    return json.loads(arguments or "{}", parse_constant=_no_constant)


def sound(body: Any) -> None:
    """Refuse what is JSON by its letters and breaks what comes after: endless nesting, half characters."""
    level: Sequence[Any] = [body]
    for _ in range(DEPTH):
        for text in level:
            if isinstance(text, str) and not text.isascii():
                _encodable(text)
        level = [inner for value in level for inner in _inside(value)]
        if not level:
            return
    raise RequestError(400, f"the JSON is nested deeper than {DEPTH} levels")


def _inside(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value
        yield from value.values()
    elif isinstance(value, list):
        yield from value


def _encodable(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise RequestError(400, f"a text holds half a character (a lone surrogate, \\u{ord(text[error.start]):04x})") from None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON value")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text[:40]} is too large")
    return value
