"""Finds what a person asked for in a conversation, among all that tools and editors put into it."""

from collections.abc import Mapping, Sequence
from typing import Any

LONGEST = 20_000
"""Characters of a text that are kept: of a longer one its beginning and its end."""
_WRAPPED = ("task", "feedback", "user_message", "answer")  # what Cline and its kin put around a person's own words
_NOISE = ("environment_details",)
_RESULT = "] Result:"
_HEAD = 300  # characters within which a result of Cline's tools names its tool


def last_said(messages: Sequence[Any]) -> str:
    """What a person said last: of the last user turn that is no tool's result, without what an editor wrote around it.

    Args:
        messages: OpenAI's messages; those in any other form are passed over.
    """
    texts = [text for each in reversed(messages) if _by_user(each) and (text := text_of(each))]
    return next((said for text in texts if (said := _own_words(text))), "" if not texts else _bounded(texts[0]))


def first_said(messages: Sequence[Any]) -> str:
    """What a person said first, which stays the same as a conversation goes on."""
    return next((_own_words(text) or _bounded(text) for each in messages if _by_user(each) and (text := text_of(each))), "")


def text_of(message: Mapping[str, Any]) -> str:
    """The text of a message; parts of another kind, as images, are left out."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else ()
    return "\n".join(part["text"] for part in parts if isinstance(part, dict) and isinstance(part.get("text"), str))


def _by_user(message: Any) -> bool:
    return isinstance(message, dict) and message.get("role") == "user"


def _own_words(text: str) -> str:
    """Empty where a tool said it."""
    for tag in _NOISE:
        text = _without(text, tag)
    for tag in _WRAPPED:
        if (inner := _inside(text, tag)) is not None:
            return _bounded(inner.strip())
    text = text.strip()
    return "" if text.startswith("[") and _RESULT in text[:_HEAD] else _bounded(text)


def _inside(text: str, tag: str) -> str | None:
    start = text.find(f"<{tag}>")
    end = text.find(f"</{tag}>", start)
    return text[start + len(tag) + 2 : end] if 0 <= start < end else None


def _without(text: str, tag: str) -> str:
    start = text.find(f"<{tag}>")
    if start < 0:
        return text
    end = text.rfind(f"</{tag}>")
    return text[:start] if end < start else f"{text[:start]}\n{text[end + len(tag) + 3 :]}"


def _bounded(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]}\n{text[-LONGEST // 2 :]}"
