"""Held-out examples as cases: each turn of the assistant, with what came before it as the prompt."""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from src.core.errors import MlxError
from src.core.records import Example
from src.core.seeds import derive

SUITE = "suite:"
"""Begins the tag of rows that are asked besides the project's own: they have no answer to be likely or alike."""


@dataclass(frozen=True, slots=True)
class Case:
    """One turn that a model is asked for."""

    id: str
    """The example's id and the message's number: `tools:test:12#2`."""
    example: str
    group: str
    tags: tuple[str, ...]
    history: list[dict[str, Any]]
    tools: list[dict[str, Any]]
    expected: dict[str, Any]
    """The assistant's message in the example."""

    @property
    def calls(self) -> list[dict[str, Any]]:
        """The calls expected, as `{"name", "arguments"}`; none where words are."""
        return [dict(call["function"]) for call in self.expected.get("tool_calls") or ()]

    @property
    def request(self) -> str:
        """What the user said last."""
        said = (message.get("content") for message in reversed(self.history) if message["role"] == "user")
        return str(next(said, None) or "")

    @property
    def opens(self) -> bool:
        """Whether this is the first reply to what the user said, with no tool's result in between."""
        return bool(self.history) and self.history[-1]["role"] == "user"


def is_besides(row: Case | Example) -> bool:
    """Whether a row belongs to a suite of prompts, and not to the project's own."""
    tags = row.tags if isinstance(row, Case) else row.get("tags") or ()
    return any(tag.startswith(SUITE) for tag in tags)


def read_examples(path: Path, split: str) -> list[Example]:
    """Read one split of a dataset, from its folder or from one file of examples."""
    file = path / f"{split}.jsonl" if path.is_dir() else path
    try:
        lines = file.read_text(encoding="utf-8").split("\n")
    except FileNotFoundError:
        raise MlxError(f"{file} is not there", "build with a share for this split, or set eval.split") from None
    found = [_example(file, number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    if not found:
        raise MlxError(f"{file} holds no example, so nothing can be measured", "build with a share for this split, or set eval.split")
    return found


def _example(file: Path, number: int, line: str) -> Example:
    try:
        row = json.loads(line)
        whole = isinstance(row, dict) and isinstance(row["id"], str) and all(isinstance(each["role"], str) for each in row["messages"])
    except (ValueError, KeyError, TypeError):
        whole = False
    if not whole:
        raise MlxError(f"{file}:{number}: is no example (id, messages, tools, tags, sources)", "make it with `mlx build`")
    return cast(Example, row)


def kind(example: Example) -> str:
    """What an example tests: the tag `kind:…` where it has one, else whether it calls tools."""
    tagged = next((tag for tag in example.get("tags") or () if tag.startswith("kind:")), None)
    return tagged or ("call" if any(message.get("tool_calls") for message in example["messages"]) else "answer")


def chosen(examples: Sequence[Example], limit: int | None, seed: int) -> set[str]:
    """Ids of at most `limit` examples of each kind, drawn evenly, always the same ones for the same seed."""
    by_kind: dict[str, list[str]] = defaultdict(list)
    for example in examples:
        by_kind[kind(example)].append(example["id"])
    return {name for names in by_kind.values() for name in sorted(names, key=lambda name: derive(seed, "eval", name))[:limit]}


def cases(example: Example, group: str) -> Iterator[Case]:
    """Take an example apart into its assistant turns."""
    for number, message in enumerate(example["messages"]):
        if message["role"] == "assistant":
            yield Case(
                id=f"{example['id']}#{number}",
                example=example["id"],
                group=group,
                tags=tuple(example.get("tags") or ()),
                history=example["messages"][:number],
                tools=list(example.get("tools") or ()),
                expected=message,
            )


def group(example: Example, documents: Mapping[str, str]) -> str:
    """The document an example was made from, or its own id where it was made from none."""
    sources = example.get("sources") or ()
    return documents.get(sources[0], sources[0]) if sources else example["id"]


def used(examples: Iterable[Example]) -> set[str]:
    """Ids of the records that examples were made from."""
    return {source for example in examples for source in example.get("sources") or ()}
