"""Makes probabilities of a classifier's scores, and tells how far they can be believed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS = 10
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Scale:
    """A sigmoid over scores (Platt 1999), fitted on scores of texts that the classifier had not seen, at even odds of both classes."""

    slope: float
    shift: float

    @classmethod
    def fitted(cls, scores: Floats, truth: Bools) -> "Scale":
        """Fit it; the slope never turns the order round."""
        from sklearn.linear_model import LogisticRegression

        model = LogisticRegression(C=1e3, class_weight="balanced").fit(scores.reshape(-1, 1), truth)
        slope = float(model.coef_[0, 0])
        return cls(slope, float(model.intercept_[0])) if slope > 0 else cls(1.0, 0.0)

    def __call__(self, scores: Floats) -> Floats:
        """Probabilities."""
        return _sigmoid(self.slope * np.asarray(scores, dtype=np.float64) + self.shift)


def calibrated(scores: Floats, truth: Bools, folds: NDArray[np.intp]) -> Floats:
    """Probabilities of unseen scores, each by a scale fitted on the other folds: what the scale is worth on what it has not seen."""
    found = np.zeros(len(scores))
    for fold in np.unique(folds):
        here = folds == fold
        others = len(np.unique(truth[~here])) == 2
        found[here] = (Scale.fitted(scores[~here], truth[~here]) if others else Scale(1.0, 0.0))(scores[here])
    return found


def reliability(chances: Floats, truth: Bools) -> dict[str, Any]:
    """Brier score, expected calibration error and the bins of a reliability diagram, both classes counting the same in all."""
    weights = np.where(truth, 0.5 / max(1, int(truth.sum())), 0.5 / max(1, int((~truth).sum())))
    places = np.minimum((chances * BINS).astype(int), BINS - 1)
    bins = [_bin(chances[places == each], truth[places == each], weights[places == each]) for each in range(BINS)]
    return {
        "brier": float((weights * (chances - truth) ** 2).sum()),
        "ece": float(sum(each["weight"] * abs(each["said"] - each["true"]) for each in bins if each)),
        "bins": [each for each in bins if each],
    }


def _bin(chances: Floats, truth: Bools, weights: Floats) -> dict[str, float]:
    total = float(weights.sum())
    if not total:
        return {}
    said, true = (float((weights * each).sum() / total) for each in (chances, truth))
    return {"said": said, "true": true, "rows": len(chances), "weight": total}


def sigmoid(scores: Sequence[float] | Floats) -> Floats:
    """What a logistic regression says of its scores before anything is mended."""
    return _sigmoid(np.asarray(scores, dtype=np.float64))


def _sigmoid(scores: Floats) -> Floats:
    found: Floats = 1 / (1 + np.exp(-np.clip(scores, -700, 700)))
    return found
