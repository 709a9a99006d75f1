"""Kappa is scikit-learn's, and its range holds it."""

import random

import pytest

from src.eval.kappa import kappa, kappa_interval


def test_it_is_scikit_learns():
    from sklearn.metrics import cohen_kappa_score

    chance = random.Random(1)
    for _ in range(20):
        one = [chance.randint(1, 5) for _ in range(30)]
        other = [min(5, max(1, each + chance.choice([-2, -1, 0, 0, 1]))) for each in one]
        assert kappa(one, other) == pytest.approx(cohen_kappa_score(one, other, weights="quadratic"))


def test_it_is_nothing_by_chance_and_one_in_agreement():
    assert kappa([1, 1, 5, 5], [1, 5, 1, 5]) == 0
    assert kappa([3, 3], [3, 3]) == 1
    assert kappa([1, 2], [2, 1]) == -1


def test_its_interval_narrows_with_rows():
    one, other = [1, 2, 3, 4, 5] * 4, [1, 2, 3, 5, 4] * 4
    few, many = (kappa_interval(one[:count], other[:count], seed=1) for count in (10, 20))
    assert few[0] < kappa(one, other) < few[1]
    assert many[1] - many[0] < few[1] - few[0]
    assert kappa_interval(one, other, seed=1) == many
