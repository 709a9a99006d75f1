"""How well predicted classes fit the true ones: figures from counts alone, so that resampled counts give them too."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def tallies(true: Sequence[int], predicted: Sequence[int], classes: int) -> Floats:
    """For each row which class was hit, which was predicted and which is true: (rows, 3, classes) of ones and zeros.

    Sums over rows are all that the figures below need.
    """
    found = np.zeros((len(true), 3, classes))
    rows = np.arange(len(true))
    right, said = np.asarray(true, dtype=np.intp), np.asarray(predicted, dtype=np.intp)
    found[rows, 0, right] = right == said
    found[rows, 1, said] = 1
    found[rows, 2, right] = 1
    return found


def accuracy(counts: Floats) -> Floats:
    """Share of rows that are right, from counts (…, 3, classes)."""
    return _share(counts[..., 0, :].sum(-1), counts[..., 2, :].sum(-1))


def precision(counts: Floats) -> Floats:
    """Of the rows predicted to be of a class the share that is, by class; 0 where none is predicted."""
    return _share(counts[..., 0, :], counts[..., 1, :])


def recall(counts: Floats) -> Floats:
    """Of the rows of a class the share predicted to be, by class; 0 where there are none."""
    return _share(counts[..., 0, :], counts[..., 2, :])


def f1(counts: Floats) -> Floats:
    """Harmonic mean of precision and recall, by class."""
    return _share(2 * counts[..., 0, :], counts[..., 1, :] + counts[..., 2, :])


def macro_f1(counts: Floats) -> Floats:
    """Mean F1 of the classes that are there, truly or as predicted."""
    there = (counts[..., 1, :] + counts[..., 2, :]) > 0
    return _share(f1(counts).sum(-1), there.sum(-1))


def mcc(counts: Floats) -> Floats:
    """Matthews correlation for several classes (Gorodkin 2004), from -1 to 1; 0 where all is one class."""
    right, said, true = counts[..., 0, :].sum(-1), counts[..., 1, :], counts[..., 2, :]
    rows = true.sum(-1)
    spread = (rows**2 - (said**2).sum(-1)) * (rows**2 - (true**2).sum(-1))
    return _share(right * rows - (said * true).sum(-1), np.sqrt(np.maximum(spread, 0)))


def confusion(true: Sequence[int], predicted: Sequence[int], classes: int) -> list[list[int]]:
    """Rows by true class (down) and predicted class (across)."""
    found = np.zeros((classes, classes), dtype=int)
    np.add.at(found, (np.asarray(true, dtype=np.intp), np.asarray(predicted, dtype=np.intp)), 1)
    return [[int(count) for count in row] for row in found]


def _share(part: Floats, whole: Floats) -> Floats:
    """Part of the whole; 0 where there is nothing."""
    return np.divide(part, whole, out=np.zeros(np.shape(part)), where=np.asarray(whole) > 0)
