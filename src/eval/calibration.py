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

    @property
    def even(self) -> float:
        """The score whose odds are even."""
        return -self.shift / self.slope

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
    bins = diagram(chances, truth, weights=weights)
    return {
        "brier": float((weights * (chances - truth) ** 2).sum()),
        "ece": float(sum(each["weight"] * abs(each["said"] - each["true"]) for each in bins)),
        "bins": bins,
    }


def diagram(chances: Floats, truth: Bools, *, count: int = BINS, weights: Floats | None = None) -> list[dict[str, float]]:
    """Equal ranges of a probability that are not empty: the mean said, the share that was so, rows and weight."""
    shares = np.full(len(chances), 1 / max(1, len(chances))) if weights is None else weights
    places = np.minimum((chances * count).astype(int), count - 1)
    found = []
    for place in np.unique(places):
        here = places == place
        total = shares[here].sum()
        said, true = (float((shares[here] * each[here]).sum() / total) for each in (chances, truth))
        found.append({"said": said, "true": true, "rows": int(here.sum()), "weight": float(total)})
    return found


def sigmoid(scores: Sequence[float] | Floats) -> Floats:
    """What a logistic regression says of its scores before anything is mended."""
    return _sigmoid(np.asarray(scores, dtype=np.float64))


def _sigmoid(scores: Floats) -> Floats:
    found: Floats = 1 / (1 + np.exp(-np.clip(scores, -700, 700)))
    return found
