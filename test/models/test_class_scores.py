"""Figures of a classifier are scikit-learn's."""

import random

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, matthews_corrcoef, precision_recall_fscore_support

from src.models import class_scores

CHANCE = random.Random(3)
DRAWN = [(classes, [CHANCE.randrange(classes) for _ in range(60)], [CHANCE.randrange(classes) for _ in range(60)]) for classes in (2, 3, 5)]
ODD = [
    (4, [0, 0, 1, 1], [0, 1, 1, 1]),  # two classes that are nowhere
    (3, [0, 1, 2], [0, 0, 0]),  # a constant answer
    (3, [0, 0, 0], [2, 2, 2]),  # all wrong
]


@pytest.mark.parametrize(("classes", "true", "said"), DRAWN + ODD)
def test_figures_are_scikit_learns(classes, true, said):
    counts = class_scores.tallies(true, said, classes).sum(0)
    assert class_scores.accuracy(counts) == pytest.approx(accuracy_score(true, said))
    assert class_scores.macro_f1(counts) == pytest.approx(f1_score(true, said, average="macro", zero_division=0))
    assert class_scores.mcc(counts) == pytest.approx(matthews_corrcoef(true, said))
    each = precision_recall_fscore_support(true, said, labels=range(classes), zero_division=0)
    for figure, wanted in zip((class_scores.precision, class_scores.recall, class_scores.f1), each, strict=False):
        assert figure(counts) == pytest.approx(wanted)
    assert class_scores.confusion(true, said, classes) == confusion_matrix(true, said, labels=range(classes)).tolist()


def test_figures_of_many_samples_at_once():
    classes, true, said = DRAWN[1]
    one = class_scores.tallies(true, said, classes)
    both = np.stack([one.sum(0), one[:30].sum(0)])
    assert class_scores.mcc(both).tolist() == [class_scores.mcc(each) for each in both]
    assert class_scores.macro_f1(both).tolist() == [class_scores.macro_f1(each) for each in both]
