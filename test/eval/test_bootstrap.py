"""Intervals hold the truth as often as they say, pair what is paired, and do not claim certainty they have not."""

import math
import random

import numpy as np
import pytest

from src.eval.bootstrap import difference, estimate, interval
from src.eval.measure import Row


def rows(values, groups=None, weights=None):
    count = range(len(values))
    return [Row(str(n), str(groups[n]) if groups else str(n), (), float(values[n]), float(weights[n]) if weights else 1.0) for n in count]


SETS = 1000


def covered(found, truth):
    return sum(each.low <= truth <= each.high for each in found) / len(found)


def test_coverage_of_a_rate():
    chance = np.random.default_rng(1)
    found = [interval(rows(chance.random(120) < 0.7), seed=seed) for seed in range(SETS)]
    assert 0.93 <= covered(found, 0.7) <= 0.97


def test_coverage_with_documents_that_rise_and_fall_together():
    chance = np.random.default_rng(2)
    groups = np.repeat(np.arange(100), 8).tolist()
    sets = [chance.random(800) < np.repeat(chance.beta(1.4, 0.6, 100), 8) for _ in range(SETS)]  # mean .7, most documents near 0 or 1
    assert 0.93 <= covered([interval(rows(each, groups), seed=seed) for seed, each in enumerate(sets)], 0.7) <= 0.97
    assert (
        covered([interval(rows(each), seed=seed) for seed, each in enumerate(sets[:200])], 0.7) < 0.9
    )  # what drawing rows alone would claim


def test_coverage_of_a_difference():
    chance = np.random.default_rng(3)
    found = []
    for seed in range(SETS):
        hard, luck = chance.random(120), chance.random((2, 120)) < 0.9
        found.append(difference(rows((hard < 0.4) & luck[0]), rows((hard < 0.7) & luck[1]), seed=seed))
    assert 0.93 <= covered(found, 0.27) <= 0.97


def test_coverage_of_a_perplexity():
    chance = np.random.default_rng(4)
    found = []
    for seed in range(SETS):
        tokens = chance.integers(5, 30, 100)
        found.append(interval(rows(chance.gamma(tokens, 2.0), weights=tokens.tolist()), seed=seed, exponential=True))
    assert 0.93 <= covered(found, math.exp(2)) <= 0.97


def test_pairing_narrows_the_difference():
    chance = random.Random(4)
    base = [chance.random() < 0.5 for _ in range(200)]
    tuned = [each or n % 10 == 0 for n, each in enumerate(base)]
    found = difference(rows(base), rows(tuned), seed=0)
    spread = interval(rows(tuned), seed=0)
    assert found.low > 0
    assert found.high - found.low < spread.high - spread.low


def test_rows_are_paired_by_id_whatever_their_order_and_others_left_out():
    base, tuned = rows([0, 1, 0, 1, 1]), rows([0, 1, 0, 1, 1])
    found = difference(base[:4], tuned[::-1], seed=0)
    assert (found.value, found.rows) == (0.0, 4)


def test_the_same_seed_gives_the_same_interval():
    values = rows([0, 1, 1, 0, 1, 1, 1, 0])
    assert interval(values, seed=5) == interval(values, seed=5)
    assert interval(values, seed=5) != interval(rows([0, 1, 1, 0, 1, 1, 1, 1]), seed=5)


def test_a_ratio_weighs_rows_by_their_tokens():
    values = rows([2.0, 8.0], weights=[2, 2])
    assert estimate(values) == 2.5
    assert estimate(values, exponential=True) == pytest.approx(math.exp(2.5))
    assert interval(values, seed=0, exponential=True).value == pytest.approx(math.exp(2.5))


def test_rows_that_all_agree_do_not_make_certainty():
    found = interval(rows([1.0] * 30), seed=0)
    assert found.value == found.high == 1.0
    assert found.low == pytest.approx(0.8865, abs=1e-3)  # Wilson: 1 / (1 + z²/n)
    found = difference(rows([0.0] * 30), rows([1.0] * 30), seed=0)
    assert (found.value, found.high) == (1.0, 1.0)
    assert 0.7 < found.low < 0.9
    found = difference(rows([1.0] * 30), rows([1.0] * 30), seed=0)
    assert found.low < 0 < found.high
    assert interval(rows([3.0], weights=[2]), seed=0, exponential=True).high == math.inf
    assert difference(rows([3.0]), rows([2.0]), seed=0, exponential=True).low == -math.inf


def test_few_documents_are_drawn_by_row_and_say_so():
    values = [0, 1] * 20
    assert interval(rows(values, groups=[0, 1] * 20), seed=0).unit == "row"
    found = interval(rows(values, groups=[n // 5 for n in range(40)]), seed=0)
    assert (found.unit, found.units, found.rows) == ("source", 8, 40)
    assert interval(rows(values), seed=0).unit == "row"


def test_it_agrees_with_theory_on_a_mean():
    values = np.random.default_rng(0).binomial(1, 0.5, 400).astype(float).tolist()
    found = interval(rows(values), seed=0)
    error = math.sqrt(found.value * (1 - found.value) / 400)
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.06)
