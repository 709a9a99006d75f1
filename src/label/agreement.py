"""How well a model's labels agree with right ones: accuracy and Cohen's kappa, each with its range."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000
_CHUNK = 200


def agreement(right: Sequence[str], said: Sequence[str], *, seed: int, confidence: float = 0.95) -> dict[str, Any]:
    """Measure agreement.

    Args:
        right: The labels that are right.
        said: Those of the model in the same order, `""` where it gave none; such a row counts as wrong.
        seed: Draws the resamples.
        confidence: Of the ranges, which come from a percentile bootstrap over rows (Efron & Tibshirani 1993, ch. 13).

    Returns:
        `rows`, `answered`, `accuracy` and `kappa` (Cohen 1960) with `…_interval`, and `confusion`: counts by "right → said".
    """
    names = sorted({*right, *said})
    places = {name: number for number, name in enumerate(names)}
    pairs = np.array([[places[a], places[b]] for a, b in zip(right, said, strict=True)])
    accuracies, kappas = _resampled(pairs, len(names), seed)
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    accuracy, kappa = _figures(pairs[None], len(names))
    confusion = Counter(f"{a} → {b or 'none'}" for a, b in zip(right, said, strict=True))
    return {
        "rows": len(right),
        "answered": sum(1 for each in said if each),
        "accuracy": _round(accuracy[0]),
        "accuracy_interval": [_round(each) for each in np.quantile(accuracies, tails)],
        "kappa": _round(kappa[0]),
        "kappa_interval": [_round(each) for each in np.quantile(kappas, tails)],
        "confusion": dict(sorted(confusion.items())),
    }


def _resampled(pairs: NDArray[np.int64], classes: int, seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    chance = np.random.default_rng(seed)
    drawn = [_figures(pairs[chance.integers(0, len(pairs), (_CHUNK, len(pairs)))], classes) for _ in range(RESAMPLES // _CHUNK)]
    return np.concatenate([each[0] for each in drawn]), np.concatenate([each[1] for each in drawn])


def _figures(pairs: NDArray[np.int64], classes: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Accuracy and kappa of each resample; pairs is (resamples, rows, 2). Where chance alone agrees fully, kappa is the accuracy's."""
    rights, saids = pairs[..., 0], pairs[..., 1]
    observed = (rights == saids).mean(1)
    expected = sum((rights == each).mean(1) * (saids == each).mean(1) for each in range(classes)) + np.zeros(len(pairs))
    free = 1 - expected
    kappa = np.divide(observed - expected, free, out=np.where(observed == 1, 1.0, 0.0), where=free > 1e-12)
    return observed, kappa


def _round(value: float) -> float:
    return round(float(value), 4)
