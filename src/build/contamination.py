"""Finding evaluation items in training rows: word for word, by runs of words, and in nearly the same words."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from src.build.candidate import Candidate
from src.build.evaluation import EvaluationSet
from src.build.split import TRAIN
from src.core.ledger import Drop
from src.text.overlap import Overlap


class Decontamination:
    """All evaluation sets of a build, and what was found of them."""

    def __init__(self, sets: Sequence[EvaluationSet]) -> None:
        self.files = [(each, _read(each)) for each in sets if each.split is None]
        self.splits = [each for each in sets if each.split is not None]
        self.info: dict[str, Any] = {
            asked.title: {"items": len(set(items.names)), "texts": len(items.names), "too_short": items.short}
            for asked, items in self.files
        }
        self.counts: dict[str, Counter[str]] = defaultdict(Counter)

    def clean(self, rows: Iterable[Candidate]) -> Iterator[Candidate | Drop]:
        """Pass on the rows that hold no item of a file."""
        for row in rows:
            yield self._drop(row, self.files) or row

    def clean_of_splits(self, rows: Sequence[Candidate]) -> Iterator[Candidate | Drop]:
        """Pass on the rows but those for training that hold what a row held out says.

        A source that splits its rows itself is trusted: its own test rows count against the other sources only.
        """
        indexes = [(decided, each, self._split(each, rows, decided=decided)) for each in self.splits for decided in (False, True)]
        for row in rows:
            against = [(asked, items) for decided, asked, items in indexes if not (decided and row.decided)]
            yield (self._drop(row, against) if row.split == TRAIN else None) or row

    def holds(self, text: str) -> bool:
        """Whether a text holds an item of a file; counted under `texts`."""
        for asked, items in self.files:
            if items.find([text]):
                self.counts[asked.title]["neutral"] += 1
                return True
        return False

    def report(self) -> dict[str, Any]:
        """By evaluation set: `items`, `texts`, `too_short` and the rows found by each way: `exact`, `ngram`, `near`."""
        return {title: {**about, "found": dict(sorted(self.counts[title].items()))} for title, about in self.info.items()}

    def _drop(self, row: Candidate, against: Iterable[tuple[EvaluationSet, Overlap]]) -> Drop | None:
        for asked, items in against:
            if found := items.find(row.said):
                self.counts[asked.title][found.how] += 1
                detail = f"{found.how}: {found.item}: {found.detail}"
                return Drop(row.example["id"], "contaminated", detail, dict(row.example))
        return None

    def _split(self, asked: EvaluationSet, rows: Sequence[Candidate], *, decided: bool) -> Overlap:
        items = _index(asked)
        for row in rows:
            if row.split == asked.split and row.decided == decided:
                for message in row.example["messages"]:
                    if message["role"] in ("user", "assistant") and message.get("content"):
                        part = "asked" if message["role"] == "user" else "answered"
                        # requests that we word ourselves are of few patterns: only equal ones count
                        items.add(row.example["id"], part, message["content"], near=part == "answered")
        about = self.info.setdefault(asked.title, {"items": 0, "texts": 0, "too_short": 0})
        about["items"] += len(set(items.names))
        about["texts"] += len(items.names)
        about["too_short"] += items.short
        return items


def _read(asked: EvaluationSet) -> Overlap:
    items = _index(asked)
    for found in asked.items():
        if isinstance(found, Drop):
            items.short += found.reason == "no_text"
        else:
            items.add(*found)
    return items


def _index(asked: EvaluationSet) -> Overlap:
    return Overlap(ngram=asked.ngram, overlap=asked.overlap, threshold=asked.threshold)
