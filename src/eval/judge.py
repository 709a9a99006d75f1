"""A classifier of voice, learned from the project's own texts and tested on documents it has not seen."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from src.core.records import Record
from src.eval.delta import Delta
from src.eval.pieces import UnfitJudgeError, pieces
from src.eval.trial import Trial, classifier, trial
from src.text.normalise import normalise


@dataclass(frozen=True)
class Judge:
    """A trained classifier, a second judge that goes by common words alone, and what their test on unseen documents gave."""

    model: Any
    delta: Delta
    trial: Trial

    @property
    def report(self) -> dict[str, Any]:
        """The figures of the test."""
        return self.trial.report

    @property
    def bar(self) -> float:
        """Probability above which a text counts as the persona's: text that says nothing either way stays below it."""
        return float(self.report["bar"])

    def shares(self, texts: Sequence[str]) -> list[float]:
        """The calibrated probability that each text is in the persona's voice; 0 for one without a word."""
        if not texts:
            return []
        chances = self.trial.scale(self.model.decision_function([normalise(text) for text in texts]))
        return [float(chance) if text.strip() else 0.0 for chance, text in zip(chances, texts, strict=True)]

    def nearer(self, texts: Sequence[str]) -> list[float]:
        """By Burrows' Delta, how much nearer each text is to the persona than to the other voices."""
        return [float(each) for each in self.delta.nearer([normalise(text) for text in texts])] if texts else []


def train(
    records: Iterable[Record],
    persona: dict[str, str | list[str]],
    *,
    seed: int,
    samples: int,
    words: int,
    fewest_words: int,
    min_accuracy: float,
    false_alarms: float,
) -> Judge:
    """Train on pieces of `words` words: records that match `persona` against all others.

    Raises:
        UnfitJudgeError: Where a class is missing or tiny, or the judge fails its own test.
    """
    cut = pieces(records, persona, seed=seed, samples=samples, words=words, fewest_words=fewest_words)
    found = trial(cut, seed=seed, false_alarms=false_alarms)
    if (right := found.report["balanced_accuracy"]) < min_accuracy:
        raise UnfitJudgeError(f"the judge tells the voices apart with a balanced accuracy of only {right:.2f}", found.report)
    texts, truth = [piece.text for piece in cut], np.array([piece.persona for piece in cut])
    return Judge(classifier(seed).fit(texts, truth), Delta().fit(texts, truth, [piece.source for piece in cut]), found)
