"""Burrows' Delta: which of two voices the commonest words of a text are nearer to, whatever the text is about."""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

MOST = 150
"""Words compared; Burrows took the 150 commonest of his corpus."""
SHARE = 0.7
"""Share of the documents that a word has to be in, so that no document's own matter counts (Hoover 2004, "culling")."""
FEWEST = 10
"""Words that are compared anyhow: those of the most documents."""
WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*")

Floats = NDArray[np.float64]


class Delta:
    """The distance of texts to two voices in the rates of common words (Burrows 2002, "'Delta': a Measure of Stylistic Difference").

    Rates are z-scored over the pieces learned from; a text's Delta to a voice is the mean absolute difference to that voice's mean.
    """

    def __init__(self, *, most: int = MOST, share: float = SHARE) -> None:
        self.most = most
        self.share = share
        self.words: list[str] = []

    def fit(self, texts: Sequence[str], truth: NDArray[np.bool_], sources: Sequence[str]) -> Self:
        """Learn the words, their spread and the two voices' means from texts; `truth` is true where the voice is the persona's."""
        self.words = self._common(texts, sources)
        rates = self._rates(texts)
        self._mean, spread = rates.mean(0), rates.std(0)
        self._spread = np.where(spread > 0, spread, 1.0)
        scores = (rates - self._mean) / self._spread
        self._persona, self._others = scores[truth].mean(0), scores[~truth].mean(0)
        return self

    def nearer(self, texts: Sequence[str]) -> Floats:
        """How much nearer each text is to the persona than to the others: above 0 it is the persona's."""
        scores = (self._rates(texts) - self._mean) / self._spread
        found: Floats = abs(scores - self._others).mean(1) - abs(scores - self._persona).mean(1)
        return found

    def _common(self, texts: Sequence[str], sources: Sequence[str]) -> list[str]:
        """The commonest of the words that most documents have."""
        counts: Counter[str] = Counter()
        places: defaultdict[str, set[str]] = defaultdict(set)
        for text, source in zip(texts, sources, strict=True):
            found = Counter(WORD.findall(text))
            counts += found
            for word in found:
                places[word].add(source)
        least = self.share * len(set(sources))
        wide = [word for word in counts if len(places[word]) >= least]
        if len(wide) < FEWEST:
            wide = sorted(counts, key=lambda word: (-len(places[word]), -counts[word], word))[:FEWEST]
        return sorted(wide, key=lambda word: (-counts[word], word))[: self.most]

    def _rates(self, texts: Sequence[str]) -> Floats:
        place = {word: number for number, word in enumerate(self.words)}
        rates = np.zeros((len(texts), len(self.words)))
        for row, text in enumerate(texts):
            found = WORD.findall(text)
            for word in found:
                if (column := place.get(word)) is not None:
                    rates[row, column] += 1 / len(found)
        return rates
