"""Put a row's text as a question to a model, and name the question by everything its answer depends on."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from src.llm.client import Message


class Questions:
    """One question a text: the task, the classes and the examples before it."""

    def __init__(
        self,
        *,
        asked: Any,
        classes: Mapping[str, str],
        instructions: str,
        examples: Sequence[tuple[str, str]],
        max_chars: int,
        max_tokens: int,
        temperature: float | None,
    ) -> None:
        """Word the part that is the same for every text.

        Args:
            asked: JSON value that stands for the model.
            classes: What each class name stands for.
            instructions: The task.
            examples: Texts and their classes.
            max_chars: How much of a text is shown.
            max_tokens: Longest answer.
            temperature: None where the model's own holds.
        """
        self.max_chars = max_chars
        self.max_tokens = max_tokens
        self.temperature = temperature
        lines = [f"- {name}: {' '.join(what.split())}" if what else f"- {name}" for name, what in classes.items()]
        task = "\n".join([instructions.strip(), "", *lines, "", "Answer with the name of one class and nothing else."])
        self.before: list[Message] = [{"role": "system", "content": task}]
        for text, name in examples:
            self.before += [{"role": "user", "content": self._shown(text)}, {"role": "assistant", "content": name}]
        self._common = hashlib.sha256(_bytes([asked, max_tokens, temperature, self.before]))

    def messages(self, text: str) -> list[Message]:
        """The dialogue that ends with the text; nothing else is in the user's message."""
        return [*self.before, {"role": "user", "content": self._shown(text)}]

    def key(self, text: str) -> str:
        """Stands for model, settings and messages."""
        mark = self._common.copy()
        mark.update(_bytes(self._shown(text)))
        return mark.hexdigest()

    def _shown(self, text: str) -> str:
        # half of a pair of surrogates cannot be sent
        return text[: self.max_chars].encode("utf-8", "replace").decode()


def _bytes(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True).encode()
