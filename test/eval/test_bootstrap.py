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


def test_coverage_of_a_rate():
    chance = random.Random(1)
    held = 0
    for seed in range(200):
        found = interval(rows([chance.random() < 0.7 for _ in range(80)]), seed=seed)
        held += found.low <= 0.7 <= found.high
    assert 0.90 <= held / 200 <= 0.99


def test_coverage_with_documents_that_rise_and_fall_together():
    chance = random.Random(2)
    whole = alone = 0
    for seed in range(200):
        values, groups = [], []
        for group in range(30):
            rate = chance.betavariate(1.4, 0.6)  # mean .7, most documents near 0 or 1
            values += [chance.random() < rate for _ in range(8)]
            groups += [group] * 8
        found = interval(rows(values, groups), seed=seed)
        whole += found.low <= 0.7 <= found.high
        found = interval(rows(values), seed=seed)
        alone += found.low <= 0.7 <= found.high
    assert 0.90 <= whole / 200 <= 0.99
    assert alone / 200 < 0.80  # what drawing rows alone would have claimed


def test_coverage_of_a_difference_and_of_a_perplexity():
    chance = random.Random(3)
    differences = perplexities = 0
    for seed in range(200):
        hard = [chance.random() for _ in range(80)]
        base, tuned = [h < 0.4 and chance.random() < 0.9 for h in hard], [h < 0.7 and chance.random() < 0.9 for h in hard]
        found = difference(rows(base), rows(tuned), seed=seed)
        differences += found.low <= 0.27 <= found.high
        tokens = [chance.randint(5, 30) for _ in range(80)]
        nats = [sum(chance.expovariate(0.5) for _ in range(each)) for each in tokens]
        found = interval(rows(nats, weights=tokens), seed=seed, exponential=True)
        perplexities += found.low <= math.exp(2) <= found.high
    assert 0.90 <= differences / 200 <= 0.99
    assert 0.90 <= perplexities / 200 <= 0.99


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
