"""Mending chat templates that write the same turn otherwise as a conversation or the day goes on, so that training sees what is served."""

import logging
import re
from typing import Any

_MENDED = (
    # Mistral 7B v0.3, Nemo: the system prompt is rendered only while a user message is the last, so never in training
    (re.compile(r"\bloop\.last(\s+and\s+system_message\s+is\s+defined)"), r"loop.first\1"),
    # and the tools move to the newest user message
    (re.compile(r"\bmessage\s*==\s*user_messages\[-1\]"), "message == user_messages[0]"),
    # Llama 3.2: today's date, so that no two days have the same tokens; the day is the one that Llama 3.1 and 3.3 write
    (re.compile(r"""\bstrftime_now\(\s*(["'])%d %b %Y\1\s*\)"""), r"\g<1>26 Jul 2024\1"),
)


def steady(tokenizer: Any) -> None:
    """Keep system prompt and tools in the first user message, and the date, where the template would move them; the log says so."""
    template = tokenizer.chat_template
    if not isinstance(template, str):
        return
    made = mended(template)
    if made != template:
        tokenizer.chat_template = made
        logging.getLogger("mlx.models").info(
            "%s: its chat template moves the system prompt, the tools or the date as a conversation goes on; here they stay",
            tokenizer.name_or_path,
        )


def mended(template: str) -> str:
    """The template with what moves held still."""
    for pattern, replacement in _MENDED:
        template = pattern.sub(replacement, template)
    return template
