"""Put texts as questions to a model, and name each question by everything its answer depends on."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from src.llm.asking.batches import batch_form, batch_words, listed
from src.llm.asking.task import Form, Task
from src.llm.client import Message

_SAID = 4000  # characters of a faulty answer that are shown again
_ITEM = 12  # tokens that the frame of an answer takes in a list


@dataclass(frozen=True)
class Question:
    """One call."""

    key: str
    messages: list[Message]
    max_tokens: int
    form: Form | None
    draw: int


class Questions:
    """The ways to ask one task: about a text alone, about several together, and again after a faulty answer."""

    def __init__(self, *, asked: Any, task: Task, max_chars: int, max_tokens: int, temperature: float | None) -> None:
        """Word the part that is the same for every text.

        Args:
            asked: JSON value that stands for the model.
            task: What is asked.
            max_chars: How much of a text is shown.
            max_tokens: Longest answer about one text.
            temperature: None where the model's own holds.
        """
        self.task = task
        self.max_chars = max_chars
        self.max_tokens = max_tokens
        self.temperature = temperature
        self.system = f"{task.about}\n\n{task.ending}"
        self.shots: list[Message] = []
        for text, answer in task.shots:
            self.shots += [{"role": "user", "content": self.shown(text)}, {"role": "assistant", "content": answer}]
        self.together_system = f"{task.about}\n\n{batch_words(task.value)}"
        self.together_shots: list[Message] = []
        if task.shots:
            texts, answers = [self.shown(text) for text, _ in task.shots], [answer for _, answer in task.shots]
            said = {"answers": [{"id": number, "answer": _plain(each)} for number, each in enumerate(answers, start=1)]}
            self.together_shots = [{"role": "user", "content": listed(texts)}, {"role": "assistant", "content": _json(said)}]
        settings = [asked, max_tokens, temperature]
        held = [] if task.form is None else [task.form]
        self._alone = hashlib.sha256(_bytes([*settings, [_system(self.system), *self.shots], *held]))
        self._together = hashlib.sha256(_bytes([*settings, [_system(self.together_system), *self.together_shots], *held]))

    def alone(self, text: str, draw: int = 0) -> Question:
        """The dialogue that ends with the text; nothing else is in the user's message."""
        messages = [_system(self.system), *self.shots, _user(self.shown(text))]
        return Question(self.key(text, draw), messages, self.max_tokens, self.task.form, draw)

    def again(self, text: str, draw: int, said: str, fault: str) -> Question:
        """The same with the faulty answer and its fault; the user's message stays the text alone, whatever it holds."""
        quoted = json.dumps(said[:_SAID], ensure_ascii=False)
        note = f"To the text that follows you answered {quoted}, which cannot be used: {fault}. Answer anew, as asked for above."
        messages = [_system(f"{self.system}\n\n{note}"), *self.shots, _user(self.shown(text))]
        mark = hashlib.sha256(_bytes([self.key(text, draw), said, fault])).hexdigest()
        return Question(mark, messages, self.max_tokens, self.task.form, draw)

    def together(self, texts: Sequence[str], draw: int = 0) -> Question:
        """One dialogue about several texts, whose answer is a list."""
        shown = [self.shown(text) for text in texts]
        messages = [_system(self.together_system), *self.together_shots, _user(listed(shown))]
        form = batch_form(self.task.value) if self.task.form is not None else None
        return Question("", messages, (self.max_tokens + _ITEM) * len(texts) + _ITEM, form, draw)

    def key(self, text: str, draw: int = 0) -> str:
        """Stands for model, settings and messages of a question about a text alone."""
        return self._mark(self._alone.copy(), text, draw)

    def key_in_batch(self, text: str, draw: int = 0) -> str:
        """Stands for the same where it is one of several; which others there are is left out, or each new row would cost them all."""
        return self._mark(self._together.copy(), text, draw)

    def _mark(self, mark: Any, text: str, draw: int) -> str:
        mark.update(_bytes(self.shown(text)))
        if draw:
            mark.update(_bytes(draw))
        return str(mark.hexdigest())

    def shown(self, text: str) -> str:
        """What the model sees of a text."""
        # half of a pair of surrogates cannot be sent
        return self.task.frame(text[: self.max_chars]).encode("utf-8", "replace").decode()


def _plain(answer: str) -> Any:
    """An example's answer as a JSON value: a class stays a word."""
    try:
        value = json.loads(answer)
    except ValueError:
        return answer
    return value["label"] if isinstance(value, dict) and set(value) == {"label"} else value


def _system(words: str) -> Message:
    return {"role": "system", "content": words}


def _user(words: str) -> Message:
    return {"role": "user", "content": words}


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _bytes(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True).encode()
