"""Finding evaluation items in training rows: word for word, by runs of words, and in nearly the same words."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Any

from src.build.candidate import Candidate
from src.build.evaluation import EvaluationSet
from src.build.split import TRAIN
from src.core.ledger import Drop
from src.text.minhash import U32, band_keys, jaccard, rows_for, shingle_hashes, signature
from src.text.normalise import normalise
from src.text.shingles import words

EXACT, RUN, NEAR = "exact", "ngram", "near"
_LEAST = {"asked": 3, "answered": 12}
"""Words from which a question, and an answer, tells an item: "Yes." stands in any text."""
_SHORT = 8
"""Words from which an item may be found within a longer text."""
_SIZE = 3


@dataclass(frozen=True, slots=True)
class Found:
    """An item in a row."""

    item: str
    how: str
    detail: str


@dataclass
class Items:
    """The items of one evaluation set, so indexed that a text is quickly compared with all of them."""

    asked: EvaluationSet
    names: list[str] = field(default_factory=list)
    short: int = 0
    """Texts of too few words to be told from others."""
    exact: dict[str, int] = field(default_factory=dict)
    runs: dict[str, list[tuple[tuple[str, ...], int]]] = field(default_factory=lambda: defaultdict(list))
    """Runs of an item's words by their first eight."""
    starts: set[tuple[str, ...]] = field(default_factory=set)
    """The first two words of every run."""
    longest: int = 0
    """Words of the longest item that may be near."""
    totals: list[int] = field(default_factory=list)
    """How many runs each item has."""
    hashes: list[U32] = field(default_factory=list)
    bands: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))

    def add(self, name: str, part: str, text: str, *, near: bool = True) -> None:
        """Take in a text of an item; `near` tells whether texts in nearly its words count too."""
        text = normalise(text)
        found = words(text)
        if len(found) < _LEAST[part]:
            self.short += 1
            return
        number = len(self.names)
        self.names.append(name)
        self.exact.setdefault(" ".join(found), number)
        size = min(self.asked.ngram, len(found))
        runs = (
            {tuple(found[start : start + size]) for start in range(len(found) - size + 1)}
            if size >= min(_SHORT, self.asked.ngram)
            else set()
        )
        for run in runs:
            self.runs[" ".join(run[: self.head])].append((run, number))
            self.starts.add(run[:2])
        self.totals.append(len(runs))
        self.hashes.append(shingle_hashes(text, _SIZE))
        if near and self.asked.threshold is not None:
            self.longest = max(self.longest, len(found))
            for key in self.keys(self.hashes[-1], self.asked.threshold):
                self.bands[key].append(number)

    @property
    def head(self) -> int:
        """Words of a run that it is looked up by."""
        return min(_SHORT, self.asked.ngram)

    def keys(self, hashes: U32, threshold: float) -> list[int]:
        """The places of a text in the bands."""
        return [int(key) ^ band for band, key in enumerate(band_keys(signature(hashes), rows_for(threshold)))]

    def find(self, texts: Iterable[str]) -> Found | None:
        """Return the first item that stands in one of the texts."""
        for text in texts:
            plain = normalise(text)
            said = words(plain)
            if found := self._exact(said) or self._run(said) or self._near(plain, said):
                return found
        return None

    def _exact(self, said: Sequence[str]) -> Found | None:
        number = self.exact.get(" ".join(said))
        return None if number is None else Found(self.names[number], EXACT, "word for word")

    def _run(self, said: Sequence[str]) -> Found | None:
        hits: dict[int, set[tuple[str, ...]]] = defaultdict(set)
        for start in range(len(said) - self.head + 1):
            if (said[start], said[start + 1]) not in self.starts:
                continue
            for run, number in self.runs.get(" ".join(said[start : start + self.head]), ()):
                if tuple(said[start : start + len(run)]) == run:
                    hits[number].add(run)
        for number, runs in hits.items():
            if len(runs) >= max(1, ceil(self.asked.overlap * self.totals[number])):
                shown = " ".join(min(runs))
                return Found(self.names[number], RUN, f"{len(runs)} of {self.totals[number]} runs of words, such as “{shown[:80]}”")
        return None

    def _near(self, plain: str, said: Sequence[str]) -> Found | None:
        threshold = self.asked.threshold
        # a text much longer than any item cannot be like one; repeated runs count once, hence the half
        if threshold is None or len(said) < _LEAST["asked"] or 0.5 * threshold * len(said) > self.longest:
            return None
        hashes = shingle_hashes(plain, _SIZE)
        close = {number for key in self.keys(hashes, threshold) for number in self.bands.get(key, ())}
        likeness, number = max(((jaccard(hashes, self.hashes[each]), -each) for each in close), default=(0.0, 0))
        return Found(self.names[-number], NEAR, f"Jaccard {likeness:.2f}") if likeness >= threshold else None


class Decontamination:
    """All evaluation sets of a build, and what was found of them."""

    def __init__(self, sets: Sequence[EvaluationSet]) -> None:
        self.files = [_read(each) for each in sets if each.split is None]
        self.splits = [each for each in sets if each.split is not None]
        self.info: dict[str, Any] = {
            items.asked.title: {"items": len(set(items.names)), "texts": len(items.names), "too_short": items.short} for items in self.files
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
        indexes = [(decided, self._split(each, rows, decided=decided)) for each in self.splits for decided in (False, True)]
        for row in rows:
            against = [items for decided, items in indexes if not (decided and row.decided)]
            yield (self._drop(row, against) if row.split == TRAIN else None) or row

    def holds(self, text: str) -> bool:
        """Whether a text holds an item of a file; counted under `texts`."""
        for items in self.files:
            if items.find([text]):
                self.counts[items.asked.title]["neutral"] += 1
                return True
        return False

    def report(self) -> dict[str, Any]:
        """By evaluation set: `items`, `texts`, `too_short` and the rows found by each way: `exact`, `ngram`, `near`."""
        return {title: {**about, "found": dict(sorted(self.counts[title].items()))} for title, about in self.info.items()}

    def _drop(self, row: Candidate, against: Iterable[Items]) -> Drop | None:
        for items in against:
            if found := items.find(row.said):
                self.counts[items.asked.title][found.how] += 1
                detail = f"{found.how}: {found.item}: {found.detail}"
                return Drop(row.example["id"], "contaminated", detail, dict(row.example))
        return None

    def _split(self, asked: EvaluationSet, rows: Sequence[Candidate], *, decided: bool) -> Items:
        items = Items(asked)
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


def _read(asked: EvaluationSet) -> Items:
    items = Items(asked)
    for found in asked.items():
        if isinstance(found, Drop):
            items.short += found.reason == "no_text"
        else:
            items.add(*found)
    return items
