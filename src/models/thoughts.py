"""The thoughts between `<think>` and `</think>`: whether they are whole, and what becomes of them."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from src.models.conversation import Fault

Policy = Literal["keep", "strip", "refuse"]
TAGS = ("<think>", "</think>")
_TAG = re.compile("</?think>")
_BLOCK = re.compile(r"\s*<think>.*?</think>\s*", re.DOTALL)


def thought_faults(messages: Sequence[Mapping[str, Any]]) -> Iterator[Fault]:
    """Yield what is wrong with the thoughts of assistant messages: a template would lose or double what they hold."""
    for number, message in enumerate(messages):
        content = message.get("content")
        if message.get("role") != "assistant" or not isinstance(content, str):
            continue
        tags = _TAG.findall(content)
        where = f"message {number}"
        if (len(tags) > 1 and tuple(tags) != TAGS) or (tags and message.get("reasoning_content")):
            yield Fault(
                "think_twice", f"{where}: {len(tags)} tags" + (" beside reasoning_content" if message.get("reasoning_content") else "")
            )
        elif tags == ["<think>"]:
            yield Fault("think_unclosed", f"{where}: <think> without </think>")
        elif tags == ["</think>"]:
            yield Fault("think_unopened", f"{where}: </think> without <think>")
        elif tags and not content.lstrip().startswith("<think>"):
            yield Fault("think_not_first", f"{where}: {content[:40]!r} stands before <think>")
        elif tags and not content.partition("</think>")[2].strip() and not message.get("tool_calls"):
            yield Fault("think_without_answer", f"{where}: nothing follows </think>")


def thinks(message: Mapping[str, Any]) -> bool:
    """Whether an assistant's message holds a thought that is not empty."""
    if message.get("role") != "assistant":
        return False
    content = message.get("content") or ""
    return bool(
        (message.get("reasoning_content") or "").strip()
        or ("<think>" in content and content.split("<think>")[1].split("</think>")[0].strip())
    )


def without_thoughts(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Copies of the messages in which the assistant only answers."""
    return [_answer(message) if message.get("role") == "assistant" else dict(message) for message in messages]


def _answer(message: Mapping[str, Any]) -> dict[str, Any]:
    made = {key: value for key, value in message.items() if key != "reasoning_content"}
    if isinstance(made.get("content"), str):
        made["content"] = _BLOCK.sub("", made["content"], count=1) or (None if made.get("tool_calls") else "")
    return made
