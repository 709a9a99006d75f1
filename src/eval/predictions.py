"""What models answer, made once: kept by model, prompt and settings, so that a kill costs one batch and a new metric nothing."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from src.core.files import digest
from src.llm.asking.answers import Answers
from src.llm.client import Reply

T = TypeVar("T")
Track = Callable[[Iterable[list[T]]], Iterable[list[T]]]
FILE = "predictions.sqlite"


class Predictions:
    """The replies of one model to one kind of question, in a file that all projects and models share."""

    def __init__(self, answers: Answers, model: str, questions: Mapping[str, Any], *, fresh: bool = False) -> None:
        """Look up what is known.

        Args:
            answers: Where replies are kept.
            model: Stands for the model and all settings.
            questions: What is asked, as JSON values by name; equal ones are asked once.
            fresh: Whether what is known is forgotten.
        """
        self.answers = answers
        self.model = model
        self.keys = {name: digest([model, question]) for name, question in questions.items()}
        if fresh:
            answers.forget(self.keys.values())

    def missing(self) -> list[str]:
        """Names of the questions without a reply, one of each that are equal."""
        first = {key: name for name, key in reversed(self.keys.items())}
        return [name for key, name in first.items() if self.answers.get(key) is None][::-1]

    def keep(self, replies: Iterable[tuple[str, Reply]]) -> None:
        """Keep replies, all or nothing."""
        self.answers.keep([(self.keys[name], reply) for name, reply in replies], self.model)

    def all(self) -> dict[str, Reply]:
        """The replies there are, by name."""
        found = {name: self.answers.get(key) for name, key in self.keys.items()}
        return {name: reply for name, reply in found.items() if reply is not None}


def opened(cache: Path) -> Answers:
    """The file of replies in the folder `cache`."""
    return Answers(cache / FILE)


def by_batches(
    predictions: Predictions, lengths: Mapping[str, int], make: Callable[[list[str]], Sequence[Reply]], *, size: int, track: Track[str]
) -> None:
    """Get the replies that are missing, batch by batch; a run after a kill cuts the same batches."""
    for batch in track(_batches({name: lengths[name] for name in predictions.missing()}, size)):
        predictions.keep(zip(batch, make(batch), strict=True))


def _batches(lengths: Mapping[str, int], size: int) -> list[list[str]]:
    """Names in batches of about one length, the longest first: what does not fit into memory fails at once."""
    order = sorted(lengths, key=lambda name: (-lengths[name], name))
    return [order[first : first + size] for first in range(0, len(order), size)]


def rows(predictions: Iterable[tuple[str, Reply]]) -> Iterator[dict[str, Any]]:
    """Replies as rows of a file."""
    for name, reply in predictions:
        yield {"id": name, "text": reply.text, "finish_reason": reply.finish, "tokens": reply.usage.completion}
