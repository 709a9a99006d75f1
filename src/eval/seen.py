"""Whether the model was shown in training what it is tested with: each held-out row against all training rows."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from src.core.errors import MlxError
from src.core.records import Example
from src.eval.contamination import Contamination
from src.text.normalise import normalise
from src.text.overlap import Found, Overlap

_SHOWN = 5


@dataclass
class Seen:
    """What of the held-out rows training had."""

    rows: int
    found: dict[str, Found] = field(default_factory=dict)
    """By the held-out row."""

    @property
    def share(self) -> float:
        """Of the rows."""
        return len(self.found) / self.rows if self.rows else 0.0

    def told(self) -> dict[str, Any]:
        """For the report: how many, in which way, and some of them."""
        first = [{"id": name, "how": each.how, "detail": each.detail} for name, each in list(self.found.items())[:_SHOWN]]
        ways = dict(sorted(Counter(each.how for each in self.found.values()).items()))
        return {"rows": self.rows, "found": len(self.found), "share": round(self.share, 6), "ways": ways, "examples": first}


def seen(asked: Contamination, held: Iterable[Example], training: Iterable[Example]) -> Seen:
    """Look for the rows held out: their answers word for word, by runs of words and nearly; and exchanges that are the same throughout.

    Requests alone do not count: that many people ask the same is no leak, and rows made by a pattern share theirs.
    """
    held = list(held)
    index = Overlap(ngram=asked.ngram, threshold=asked.threshold)
    whole: dict[str, list[str]] = defaultdict(list)
    owners: dict[str, list[str]] = defaultdict(list)
    for example in held:
        whole[_exchange(example)].append(example["id"])
        for text in set(_answers(example)):
            owners[normalise(text)].append(example["id"])
    for text in owners:
        index.add(text, "answered", text)
    found: dict[str, Found] = {}
    for row in training:
        for name in whole.get(_exchange(row), ()):
            found.setdefault(name, Found(name, "exact", f"{row['id']} is the same"))
        for text in _answers(row):
            if hit := index.find([text]):
                for name in owners[hit.item]:
                    found.setdefault(name, Found(name, hit.how, f"{row['id']}: {hit.detail}"))
    order = {example["id"]: number for number, example in enumerate(held)}
    return Seen(len(held), dict(sorted(found.items(), key=lambda item: order[item[0]])))


def training_rows(dataset: Path) -> Iterator[Example]:
    """The rows that the dataset in a folder has for training; none where it has no such file."""
    file = dataset / "train.jsonl" if dataset.is_dir() else dataset.with_name("train.jsonl")
    if not file.exists() or file == dataset:
        return
    with file.open(encoding="utf-8") as lines:
        for line in lines:
            if line.strip():
                yield json.loads(line)


def refuse(asked: Contamination, found: Seen) -> None:
    """Stop where too much of the test was learned.

    Raises:
        MlxError: With some of the rows.
    """
    if found.share > asked.most:
        shown = "; ".join(f"{name} ({each.how}: {each.detail})" for name, each in list(found.found.items())[:_SHOWN])
        raise MlxError(
            f"training has seen {len(found.found)} of {found.rows} held-out rows ({found.share:.0%}, most {asked.most:.0%}): {shown}",
            "set build.decontaminate to [{split: test}], or raise eval.contamination.most",
        )


def _answers(example: Mapping[str, Any]) -> list[str]:
    said = [message for message in example["messages"] if message["role"] == "assistant"]
    return [str(message["content"]) for message in said if message.get("content")]


def _exchange(example: Mapping[str, Any]) -> str:
    """All that user and assistant say and call, in one typography."""
    said = [
        [message["role"], normalise(str(message.get("content") or "")), [call["function"] for call in message.get("tool_calls") or ()]]
        for message in example["messages"]
        if message["role"] in ("user", "assistant")
    ]
    return json.dumps(said, sort_keys=True, ensure_ascii=False)
