"""Estimates the tokens of a request without a tokenizer, rather too many than too few."""

import json
from collections.abc import Mapping
from math import ceil
from typing import Any

from src.serve.routing.said import text_of

PER_MESSAGE = 8
"""Tokens that chat templates put around a message, more or less."""
PER_IMAGE = 1500
"""Tokens that an image may take: models differ from 256 to some thousands."""
_CHARACTERS = 3.0  # of ASCII in a token; English has over four, code about three
_BYTES = 2.0  # of other letters in UTF-8 in a token


def estimate(body: Mapping[str, Any]) -> int:
    """Tokens that a request's messages and tools, its prompt or its input will have, about."""
    messages = body.get("messages")
    if not isinstance(messages, list):
        given = body.get("prompt", body.get("input", ""))
        texts = given if isinstance(given, list) else [given]
        return sum(_tokens(text) if isinstance(text, str) else _ids(text) for text in texts)
    found = sum(tokens_of(message) for message in messages if isinstance(message, dict))
    return found + (_tokens(_spelled(body["tools"])) if body.get("tools") else 0)


def tokens_of(message: Mapping[str, Any]) -> int:
    """Tokens of one message, about."""
    calls = _tokens(_spelled(message["tool_calls"])) if message.get("tool_calls") else 0
    return PER_MESSAGE + _tokens(text_of(message)) + calls + PER_IMAGE * _images(message)


def images(body: Mapping[str, Any]) -> int:
    """How many parts of a request's messages are no text."""
    return sum(_images(message) for message in body.get("messages", ()))


def _images(message: Mapping[str, Any]) -> int:
    content = message.get("content")
    return sum(1 for part in content if isinstance(part, dict) and "text" not in part) if isinstance(content, list) else 0


def _tokens(text: str) -> int:
    if text.isascii():
        return ceil(len(text) / _CHARACTERS)
    plain = len(text.encode("ascii", "ignore"))
    return ceil(plain / _CHARACTERS + (len(text.encode("utf-8", "replace")) - plain) / _BYTES)


def _ids(tokens: Any) -> int:
    return len(tokens) if isinstance(tokens, list) else 1


def _spelled(value: Any) -> str:
    try:
        return json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        return ""
