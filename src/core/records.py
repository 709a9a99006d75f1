"""What flows between stages: Record, a raw thing; Example, a thing to learn from; Preference, two answers to choose between."""

from dataclasses import dataclass, field
from typing import Any, TypedDict


@dataclass(frozen=True, slots=True)
class Record:
    """A text with a name that stays the same through the stages, and what is known about it."""

    id: str
    """Unique and readable: `corpus/notes.jsonl:12`, `gutenberg:76`."""
    text: str
    meta: dict[str, Any] = field(default_factory=dict)
    """`source`, `url`, `title`, `author`, `language`, `licence`, `label` and what the input held besides."""

    def as_row(self) -> dict[str, Any]:
        """The record as a JSON object."""
        return {"id": self.id, "text": self.text, "meta": self.meta}

    def matches(self, where: dict[str, str | list[str]]) -> bool:
        """Whether every key of `where` is in `meta` with that value, or one of those values."""
        return all(str(self.meta.get(key)) in ([wanted] if isinstance(wanted, str) else wanted) for key, wanted in where.items())


class Example(TypedDict, total=False):
    """One line of a dataset: what `build` writes and `train` and `eval` read."""

    id: str
    messages: list[dict[str, Any]]
    """OpenAI chat messages; `tool_calls` hold arguments as objects."""
    tools: list[dict[str, Any]]
    """OpenAI function tools offered in this dialogue; empty where none are."""
    label: str | None
    tags: list[str]
    sources: list[str]
    """Ids of the records it was made from."""


class Preference(TypedDict, total=False):
    """One line of a dataset's `<split>_preferences.jsonl`: two answers to one prompt, for preference tuning (DPO)."""

    id: str
    prompt: list[dict[str, Any]]
    """OpenAI chat messages up to where the assistant speaks."""
    chosen: list[dict[str, Any]]
    """The answer that is to become likelier: messages that begin with the assistant's."""
    rejected: list[dict[str, Any]]
    """The answer that is to become less likely."""
    tools: list[dict[str, Any]]
    tags: list[str]
    sources: list[str]
    """Ids of the rows or records it was made from."""
