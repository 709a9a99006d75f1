"""Tests a judge of voice on documents it has not seen: how often it is right, how sure it may be, and what it goes by."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, balanced_accuracy_score, confusion_matrix, f1_score, roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
from sklearn.pipeline import FeatureUnion, Pipeline

from src.core.seeds import derive
from src.eval.bootstrap import interval
from src.eval.calibration import Scale, calibrated, reliability, sigmoid
from src.eval.delta import Delta
from src.eval.measure import Row
from src.eval.pieces import Piece, UnfitJudgeError
from src.eval.topics import distorted, matched

FOLDS = 5
KEPT = 300
"""Commonest words that a distorted text keeps."""

Floats = NDArray[np.float64]
Split = tuple[NDArray[np.intp], NDArray[np.intp]]


@dataclass(frozen=True)
class Trial:
    """What the test gave, and what it settles for the judge."""

    report: dict[str, Any]
    scale: Scale
    scores: Floats
    """Of each piece, by a judge that had not seen its document: above 0 it is the persona's."""


def trial(pieces: Sequence[Piece], *, seed: int, false_alarms: float) -> Trial:
    """Cross-validate with whole documents held out; where a class has but one document, with pieces held out.

    The bar is set so that of unseen pieces in other voices at most the share `false_alarms` is above it, and never below even odds.

    Raises:
        UnfitJudgeError: Where no fold can be made.
    """
    texts, sources = [piece.text for piece in pieces], [piece.source for piece in pieces]
    truth = np.array([piece.persona for piece in pieces])
    folds, described = _folds(truth, sources, seed)
    scores, delta, plain = np.zeros(len(texts)), np.zeros(len(texts)), np.zeros(len(texts))
    places = np.zeros(len(texts), dtype=np.intp)
    common: set[str] = set()
    for fold, (learn, test) in enumerate(folds):
        shown, unseen = [texts[at] for at in learn], [texts[at] for at in test]
        places[test] = fold
        scores[test] = classifier(derive(seed, fold)).fit(shown, truth[learn]).decision_function(unseen)
        words = Delta().fit(shown, truth[learn], [sources[at] for at in learn])
        delta[test] = words.nearer(unseen)
        common |= set(words.words)
        kept = Delta(most=KEPT).fit(shown, truth[learn], [sources[at] for at in learn]).words
        bare = classifier(derive(seed, fold)).fit(distorted(shown, kept), truth[learn])
        plain[test] = bare.decision_function(distorted(unseen, kept))
    scale, chances = Scale.fitted(scores, truth), calibrated(scores, truth, places)
    bar = max(0.0, scale.even, float(np.quantile(scores[~truth], 1 - false_alarms, method="higher")))
    report = {
        "bar": float(scale(np.array([bar]))[0]),
        "above_bar": {"persona": float((scores[truth] > bar).mean()), "other": float((scores[~truth] > bar).mean())},
        **_right(truth, scores, sources, seed),
        "roc_auc": float(roc_auc_score(truth, scores)),
        "confusion": confusion_matrix(truth, scores >= 0, labels=[False, True]).tolist(),
        "calibration": reliability(chances, truth) | {"before": _unscaled(scores, truth)},
        "delta": _right(truth, delta, sources, seed) | {"confusion": confusion_matrix(truth, delta >= 0, labels=[False, True]).tolist()},
        "without_content": _right(truth, plain, sources, seed),
        "matched": matched(texts, truth, scores >= 0, common),
        **described,
    }
    return Trial(report, scale, scores)


def classifier(seed: int) -> Pipeline:
    """TF-IDF of character 2-5-grams and word 1-2-grams under a logistic regression."""
    letters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), max_features=50_000, sublinear_tf=True)
    words = TfidfVectorizer(ngram_range=(1, 2), max_features=25_000, sublinear_tf=True)
    regression = LogisticRegression(C=10.0, class_weight="balanced", max_iter=1000, random_state=seed)
    return Pipeline([("grams", FeatureUnion([("letters", letters), ("words", words)])), ("regression", regression)])


def _folds(truth: NDArray[np.bool_], sources: Sequence[str], seed: int) -> tuple[list[Split], dict[str, Any]]:
    """Places to learn from and to test on, and how they were cut."""
    documents = {kind: len({source for source, each in zip(sources, truth, strict=True) if each == kind}) for kind in (True, False)}
    grouped = min(documents.values()) >= 2
    count = min(FOLDS, *documents.values()) if grouped else FOLDS
    kind: Callable[..., Any] = StratifiedGroupKFold if grouped else StratifiedKFold
    folds = list(kind(count, shuffle=True, random_state=seed).split(truth, truth, sources if grouped else None))
    if any(len(set(truth[learn])) < 2 for learn, _ in folds):
        raise UnfitJudgeError("too few documents of one voice to hold one back for the judge's test")
    described = {
        "grouped_by_source": grouped,
        "folds": count,
        "pieces": {"persona": int(truth.sum()), "other": int((~truth).sum())},
        "documents": {"persona": documents[True], "other": documents[False]},
    }
    return folds, described


def _right(truth: NDArray[np.bool_], scores: Floats, sources: Sequence[str], seed: int) -> dict[str, Any]:
    """Accuracy with its interval over documents, balanced accuracy and F1 of scores that are above 0 for the persona."""
    found = scores >= 0
    rows = [Row(str(place), source, (), float(same)) for place, (source, same) in enumerate(zip(sources, found == truth, strict=True))]
    sure = interval(rows, seed=derive(seed, "judge's accuracy"))
    return {
        "accuracy": float(accuracy_score(truth, found)),
        "accuracy_interval": [sure.low, sure.high],
        "balanced_accuracy": float(balanced_accuracy_score(truth, found)),
        "f1": float(f1_score(truth, found)),
    }


def _unscaled(scores: Floats, truth: NDArray[np.bool_]) -> dict[str, float]:
    told = reliability(sigmoid(scores), truth)
    return {key: told[key] for key in ("brier", "ece")}
