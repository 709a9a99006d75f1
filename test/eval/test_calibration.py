"""Probabilities mean what they say, on what they were not fitted on."""

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss

from src.eval.calibration import Scale, calibrated, reliability, sigmoid


def drawn(count, *, boast, seed=0):
    """Scores that claim `boast` times the evidence there is."""
    chance = np.random.default_rng(seed)
    evidence = chance.normal(0, 2, count)
    return boast * evidence, chance.random(count) < sigmoid(evidence)


def test_a_boaster_is_taken_down():
    scores, truth = drawn(4000, boast=5)
    folds = np.arange(4000) % 5
    before, after = (reliability(each, truth) for each in (sigmoid(scores), calibrated(scores, truth, folds)))
    assert before["ece"] > 0.1
    assert after["ece"] < 0.03
    assert after["brier"] < before["brier"]
    assert Scale.fitted(scores, truth).slope == pytest.approx(1 / 5, rel=0.1)


def test_the_order_stays_even_where_scores_are_worse_than_chance():
    scores, truth = drawn(500, boast=-1)
    found = Scale.fitted(scores, truth)(np.array([-1.0, 0.0, 2.0]))
    assert list(found) == sorted(found)


def test_brier_is_scikit_learns_with_both_classes_weighed_the_same():
    scores, truth = drawn(300, boast=1)
    weights = np.where(truth, 1 / truth.sum(), 1 / (~truth).sum())
    told = reliability(sigmoid(scores), truth)
    assert told["brier"] == pytest.approx(brier_score_loss(truth, sigmoid(scores), sample_weight=weights))
    assert sum(each["weight"] for each in told["bins"]) == pytest.approx(1)
    assert sum(each["rows"] for each in told["bins"]) == 300


def test_a_fold_that_alone_holds_a_class_is_not_fitted_without_it():
    scores, truth = np.array([3.0, 2.0, -1.0, -2.0]), np.array([True, True, False, False])
    assert np.allclose(calibrated(scores, truth, np.array([0, 0, 1, 1])), sigmoid(scores))
