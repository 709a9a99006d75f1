"""Finding texts in others: word for word, by runs of words, and in nearly the same words."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import ceil

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
class Overlap:
    """Texts of items, so indexed that another text is quickly compared with all of them."""

    ngram: int = 13
    """Words in a row that no text may share with an item; of shorter items the whole, from eight words on."""
    overlap: float = 0.0
    """Share of an item's runs of words that makes it found; 0: a single one (Brown et al. 2020, appendix C)."""
    threshold: float | None = 0.6
    """Jaccard similarity of word 3-grams from which a text is an item in other words; None: not compared."""
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
        size = min(self.ngram, len(found))
        runs = {tuple(found[start : start + size]) for start in range(len(found) - size + 1)} if size >= min(_SHORT, self.ngram) else set()
        for run in runs:
            self.runs[" ".join(run[: self.head])].append((run, number))
            self.starts.add(run[:2])
        self.totals.append(len(runs))
        self.hashes.append(shingle_hashes(text, _SIZE))
        if near and self.threshold is not None:
            self.longest = max(self.longest, len(found))
            for key in self.keys(self.hashes[-1], self.threshold):
                self.bands[key].append(number)

    @property
    def head(self) -> int:
        """Words of a run that it is looked up by."""
        return min(_SHORT, self.ngram)

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
            if len(runs) >= max(1, ceil(self.overlap * self.totals[number])):
                shown = " ".join(min(runs))
                return Found(self.names[number], RUN, f"{len(runs)} of {self.totals[number]} runs of words, such as “{shown[:80]}”")
        return None

    def _near(self, plain: str, said: Sequence[str]) -> Found | None:
        threshold = self.threshold
        # a text much longer than any item cannot be like one; repeated runs count once, hence the half
        if threshold is None or len(said) < _LEAST["asked"] or 0.5 * threshold * len(said) > self.longest:
            return None
        hashes = shingle_hashes(plain, _SIZE)
        close = {number for key in self.keys(hashes, threshold) for number in self.bands.get(key, ())}
        likeness, number = max(((jaccard(hashes, self.hashes[each]), -each) for each in close), default=(0.0, 0))
        return Found(self.names[-number], NEAR, f"Jaccard {likeness:.2f}") if likeness >= threshold else None
