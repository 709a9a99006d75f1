"""How well a classifier tells classes apart, against naming each class as often as training had it."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from src.core.config import Config
from src.eval.measure import TUNED, Classified, Evidence, Figure, Finding, Measure, Row

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ACCURACY, MACRO_F1, MCC, ECE = (f"classification.{name}" for name in ("accuracy", "macro_f1", "mcc", "ece"))


class Classification(Config):
    """Accuracy, macro F1, Matthews correlation, calibration error; by class precision, recall and F1; which class is taken for which.

    Equal to scikit-learn's figures. Matthews correlation of several classes: Gorodkin 2004; expected calibration error: Guo et al.
    2017, "On Calibration of Modern Neural Networks". Against naming each class as often as training had it.
    """

    type: Literal["classification"] = "classification"
    bins: int = Field(15, ge=2)
    """Equal ranges of the highest probability, in each of which it is compared with the accuracy (expected calibration error)."""

    names: ClassVar[tuple[str, ...]] = (ACCURACY, MACRO_F1, MCC, ECE)
    reads: ClassVar[str] = "classes"

    def score(self, evidence: Evidence) -> Finding:
        """Figures over all rows, and by class."""
        if not evidence.classified:
            return Finding(missing=dict.fromkeys(self.names, "the model is no classifier"))
        from src.models import class_scores

        rows, labels = evidence.classified, evidence.labels
        models = tuple(rows[0].probabilities)
        tallies = {model: self._rows(rows, model, labels) for model in models}
        binned = {model: [_binned(row, model, self.bins) for row in rows] for model in models}
        measures = [Measure(ACCURACY, tallies)]
        for name, figure in ((MACRO_F1, class_scores.macro_f1), (MCC, class_scores.mcc)):
            measures.append(Measure(name, tallies, figure=partial(_of_counts, figure, len(labels))))
        measures.append(Measure(ECE, binned, lower_is_better=True, figure=calibration_error))
        return Finding(
            measures, detail={"classification": {**_detail(rows, labels, evidence.seed), "calibration": _diagram(rows, self.bins)}}
        )

    def _rows(self, rows: Sequence[Classified], model: str, labels: Sequence[str]) -> list[Row]:
        from src.models.class_scores import tallies

        predicted = [guess(row, model) for row in rows]
        parts = tallies([row.true for row in rows], predicted, len(labels)).reshape(len(rows), -1).tolist()
        found = []
        for row, said, part in zip(rows, predicted, parts, strict=True):
            why = (
                "" if said == row.true else f"{labels[said]} with probability {row.probabilities[model][said]:.2f}, not {labels[row.true]}"
            )
            found.append(Row(row.id, row.group, row.tags, float(said == row.true), 1.0, why, tuple(part)))
        return found


def guess(row: Classified, model: str) -> int:
    """The class a model finds likeliest."""
    shares = row.probabilities[model]
    return max(range(len(shares)), key=lambda number: (shares[number], -number))


def calibration_error(sums: "NDArray[np.float64]") -> "NDArray[np.float64]":
    """Expected calibration error (Guo et al. 2017) from sums (…, bins + 1): of each bin probability less hits, and of the rows."""
    found: NDArray[np.float64] = abs(sums[..., :-1]).sum(-1) / sums[..., -1]
    return found


def _binned(row: Classified, model: str, bins: int) -> Row:
    said = guess(row, model)
    sure = row.probabilities[model][said]
    parts = [0.0] * bins + [1.0]
    parts[min(int(sure * bins), bins - 1)] = sure - (said == row.true)
    return Row(row.id, row.group, row.tags, abs(parts[min(int(sure * bins), bins - 1)]), 1.0, "", tuple(parts))


def _of_counts(figure: Figure, classes: int, sums: "NDArray[np.float64]") -> "NDArray[np.float64]":
    return figure(sums.reshape(*sums.shape[:-1], 3, classes))


def _diagram(rows: Sequence[Classified], bins: int) -> list[dict[str, float]]:
    """How sure the tuned model was of its guesses, and how often they were right."""
    import numpy as np

    from src.eval.calibration import diagram

    guesses = [guess(row, TUNED) for row in rows]
    sure = np.array([row.probabilities[TUNED][said] for row, said in zip(rows, guesses, strict=True)])
    return diagram(sure, np.array([said == row.true for row, said in zip(rows, guesses, strict=True)]), count=bins)


def _detail(rows: Sequence[Classified], labels: tuple[str, ...], seed: int) -> dict[str, Any]:
    """Confusion matrix, and for each class its figures with the range of its F1."""
    import numpy as np

    from src.core.seeds import derive
    from src.eval.bootstrap import interval
    from src.models import class_scores

    true, predicted = [row.true for row in rows], [guess(row, TUNED) for row in rows]
    tallies = class_scores.tallies(true, predicted, len(labels))
    counts = tallies.sum(0)
    classes: dict[str, Any] = {}
    for number, label in enumerate(labels):
        parts = [
            Row(row.id, row.group, (), 0.0, 1.0, "", tuple(each)) for row, each in zip(rows, tallies[:, :, number].tolist(), strict=True)
        ]
        range_ = interval(
            parts, seed=derive(seed, "classification.f1", label), figure=lambda sums: class_scores.f1(sums[..., :, np.newaxis])[..., 0]
        )
        classes[label] = {
            "precision": float(class_scores.precision(counts)[number]),
            "recall": float(class_scores.recall(counts)[number]),
            "f1": range_.value,
            "f1_low": range_.low,
            "f1_high": range_.high,
            "rows": int(counts[2, number]),
        }
    return {"labels": list(labels), "confusion": class_scores.confusion(true, predicted, len(labels)), "classes": classes}
