"""A classifier of voice, learned from the project's own texts and tested on documents it has not seen."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, balanced_accuracy_score, confusion_matrix, f1_score, roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
from sklearn.pipeline import FeatureUnion, Pipeline

from src.core.records import Record
from src.core.seeds import derive
from src.text.normalise import normalise

FOLDS = 5
FEWEST = 20  # pieces of each class; below it neither learning nor testing says anything
ROOM = 4_000_000  # characters kept of each class while the records are read


class UnfitJudgeError(Exception):
    """No judge can be had from these texts; `detail` holds the figures of its test, where it came to one."""

    def __init__(self, reason: str, detail: dict[str, Any] | None = None) -> None:
        super().__init__(reason)
        self.detail = detail or {}


@dataclass(frozen=True)
class Piece:
    """Some words of a document."""

    text: str
    source: str
    persona: bool


@dataclass(frozen=True)
class Judge:
    """A trained classifier and what its test on unseen documents gave."""

    model: Any
    report: dict[str, Any]

    @property
    def bar(self) -> float:
        """Probability above which a text counts as the persona's: text that says nothing either way stays below it."""
        return float(self.report["bar"])

    def shares(self, texts: Sequence[str]) -> list[float]:
        """The probability that each text is in the persona's voice; 0 for one without a word."""
        if not texts:
            return []
        chances = self.model.predict_proba([normalise(text) for text in texts])[:, 1]
        return [float(chance) if text.strip() else 0.0 for chance, text in zip(chances, texts, strict=True)]


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

    The judge's bar is set so that of unseen pieces in other voices at most the share `false_alarms` is above it.

    Raises:
        UnfitJudgeError: Where a class is missing or tiny, or the judge fails its own test.
    """
    pieces = _pieces(records, persona, seed=seed, samples=samples, words=words, fewest_words=fewest_words)
    texts = [piece.text for piece in pieces]
    truth = np.array([piece.persona for piece in pieces])
    sources = [piece.source for piece in pieces]
    report = _tested(texts, truth, sources, seed, false_alarms)
    if (right := report["balanced_accuracy"]) < min_accuracy:
        raise UnfitJudgeError(f"the judge tells the voices apart with a balanced accuracy of only {right:.2f}", report)
    return Judge(_classifier(seed).fit(texts, truth), report)


def _pieces(
    records: Iterable[Record], persona: dict[str, str | list[str]], *, seed: int, samples: int, words: int, fewest_words: int
) -> list[Piece]:
    cut: dict[bool, dict[str, list[Piece]]] = {True: defaultdict(list), False: defaultdict(list)}
    room = {True: ROOM, False: ROOM}
    for record in records:
        kind = record.matches(persona)
        if room[kind] <= 0:
            continue
        source = str(record.meta.get("source") or record.id)
        found = [Piece(text, source, kind) for text in _cut(record.text, words, fewest_words)]
        room[kind] -= sum(len(piece.text) for piece in found)
        cut[kind][source] += found
    for kind, name in ((True, "in the persona's voice"), (False, "in any other voice")):
        if (count := sum(map(len, cut[kind].values()))) < FEWEST:
            raise UnfitJudgeError(f"only {count} pieces of text {name}, and the judge needs {FEWEST} of both to learn from")
    return [piece for kind in (True, False) for piece in _drawn(cut[kind], samples, seed)]


def _cut(text: str, words: int, fewest: int) -> list[str]:
    """A text in pieces of `words` words, in one typography: quotes and dashes tell editions apart, not voices."""
    found = normalise(text).split()
    pieces = [found[at : at + words] for at in range(0, len(found), words)]
    return [" ".join(piece) for piece in pieces if len(piece) >= fewest]


def _drawn(by_source: Mapping[str, list[Piece]], samples: int, seed: int) -> list[Piece]:
    """At most `samples` pieces, in turn from each document, so that a long book does not drown the others."""
    shuffled = [sorted(each, key=lambda piece: derive(seed, "judge", piece.text)) for _, each in sorted(by_source.items())]
    deepest = max(map(len, shuffled))
    return [each[depth] for depth in range(deepest) for each in shuffled if depth < len(each)][:samples]


def _tested(texts: list[str], truth: NDArray[np.bool_], sources: list[str], seed: int, false_alarms: float) -> dict[str, Any]:
    """Cross-validate with whole documents held out; where a class has but one document, with pieces held out."""
    documents = {kind: len({source for source, each in zip(sources, truth, strict=True) if each == kind}) for kind in (True, False)}
    grouped = min(documents.values()) >= 2
    folds = min(FOLDS, *documents.values()) if grouped else FOLDS
    kind = StratifiedGroupKFold if grouped else StratifiedKFold
    chances = np.zeros(len(texts))
    for fold, (learn, test) in enumerate(kind(folds, shuffle=True, random_state=seed).split(texts, truth, sources if grouped else None)):
        if len(set(truth[learn])) < 2:
            raise UnfitJudgeError("too few documents of one voice to hold one back for the judge's test")
        model = _classifier(derive(seed, fold)).fit([texts[at] for at in learn], truth[learn])
        chances[test] = model.predict_proba([texts[at] for at in test])[:, 1]
    found = chances >= 0.5
    bar = max(0.5, float(np.quantile(chances[~truth], 1 - false_alarms, method="higher")))
    return {
        "bar": bar,
        "above_bar": {"persona": float((chances[truth] > bar).mean()), "other": float((chances[~truth] > bar).mean())},
        "accuracy": float(accuracy_score(truth, found)),
        "balanced_accuracy": float(balanced_accuracy_score(truth, found)),
        "f1": float(f1_score(truth, found)),
        "roc_auc": float(roc_auc_score(truth, chances)),
        "confusion": confusion_matrix(truth, found, labels=[False, True]).tolist(),
        "grouped_by_source": grouped,
        "folds": folds,
        "pieces": {"persona": int(truth.sum()), "other": int((~truth).sum())},
        "documents": {"persona": documents[True], "other": documents[False]},
    }


def _classifier(seed: int) -> Pipeline:
    """TF-IDF of character 2-5-grams and word 1-2-grams under a logistic regression."""
    letters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), max_features=50_000, sublinear_tf=True)
    words = TfidfVectorizer(ngram_range=(1, 2), max_features=25_000, sublinear_tf=True)
    regression = LogisticRegression(C=10.0, class_weight="balanced", max_iter=1000, random_state=seed)
    return Pipeline([("grams", FeatureUnion([("letters", letters), ("words", words)])), ("regression", regression)])
