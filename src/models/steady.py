"""Mending chat templates that move the system prompt or the tools as a conversation goes on, so that training sees what is served."""

import logging
import re
from typing import Any

_MENDED = (
    # Mistral 7B v0.3, Nemo: the system prompt is rendered only while a user message is the last, so never in training
    (re.compile(r"\bloop\.last(\s+and\s+system_message\s+is\s+defined)"), r"loop.first\1"),
    # and the tools move to the newest user message
    (re.compile(r"\bmessage\s*==\s*user_messages\[-1\]"), "message == user_messages[0]"),
)


def steady(tokenizer: Any) -> None:
    """Put the system prompt and the tools into the first user message, where the template would move them; the log says so."""
    template = tokenizer.chat_template
    if not isinstance(template, str):
        return
    mended = template
    for pattern, replacement in _MENDED:
        mended = pattern.sub(replacement, mended)
    if mended != template:
        tokenizer.chat_template = mended
        logging.getLogger("mlx.models").info(
            "%s: its chat template moves the system prompt or the tools as a conversation grows; here both stay in the first user message",
            tokenizer.name_or_path,
        )
