"""The tests for luck are those of the books: equal to scipy's, and to Holm's by hand."""

import math
import random

import pytest
from scipy.stats import binomtest, false_discovery_control, norm

from src.eval.bootstrap import difference
from src.eval.measure import Finding, Measure, Row
from src.eval.results import results
from src.eval.significance import DISCORDANT, detectable, flips, holm, mcnemar, seen, told


@pytest.mark.parametrize(("one", "other"), [(0, 0), (0, 6), (6, 0), (3, 9), (5, 5), (40, 71), (900, 1100), (0, 4000)])
def test_mcnemar_is_the_exact_sign_test_of_the_flips(one, other):
    expected = binomtest(one, one + other, 0.5).pvalue if one + other else 1.0
    assert mcnemar(one, other) == pytest.approx(expected, rel=1e-9, abs=1e-300)


def test_holm_is_holms():
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005}) == pytest.approx({"d": 0.02, "a": 0.03, "c": 0.06, "b": 0.06})
    assert holm({"a": 0.6, "b": 0.7}) == {"a": 1.0, "b": 1.0}
    assert holm({}) == {}
    chance = random.Random(0)
    values = [chance.random() ** 3 for _ in range(12)]
    order = sorted(range(12), key=values.__getitem__)
    expected, top = {}, 0.0
    for rank, at in enumerate(order):  # Holm (1979), step down
        top = expected[at] = max(top, min(1.0, values[at] * (12 - rank)))
    assert holm(dict(enumerate(values))) == pytest.approx(expected)
    assert all(expected[at] >= each for at, each in enumerate(false_discovery_control(values)))  # stricter than Benjamini-Hochberg


def test_what_a_sample_can_see():
    z = norm.ppf(0.975) + norm.ppf(0.8)
    assert detectable(200) == pytest.approx(z * math.sqrt(0.1 / 200))
    assert detectable(800) == pytest.approx(detectable(200) / 2)
    assert detectable(0) == detectable(1, discordant=1.0) == 1.0
    assert told(200, 200).startswith("200 turns cannot see less than 6.3 points")
    assert told(200, 50).startswith("200 turns (50 independent) cannot see less than 12.5 points")


def test_what_a_sample_saw_is_what_was_reckoned_where_as_many_disagree():
    """Rows that differ as was supposed beforehand give the interval whose least visible difference was told then."""
    units = 400
    reach = norm.ppf(0.975) * math.sqrt(DISCORDANT / units)
    assert seen(-reach, reach) == pytest.approx(detectable(units))
    assert seen(None, 1.0) is None


def test_the_promise_is_kept_four_times_in_five():
    chance = random.Random(4)
    least, seen = detectable(200), 0
    for _ in range(400):
        draws = [chance.random() for _ in range(200)]
        worse = sum(draw < (0.1 - least) / 2 for draw in draws)
        better = sum((0.1 - least) / 2 <= draw < 0.1 for draw in draws)
        seen += mcnemar(worse, better) < 0.05
    assert 0.65 < seen / 400 < 0.9  # the exact test is a little shy of what the formula says


def rows(values, groups=None):
    return [Row(str(n), str(groups[n] if groups else n), (), float(each)) for n, each in enumerate(values)]


def test_flips_are_counted_by_row_and_only_of_right_and_wrong():
    assert flips(rows([1, 1, 0, 0, 1]), rows([0, 1, 1, 1, 1])[::-1]) == (1, 2)
    assert flips(rows([0.5, 1]), rows([1, 1])) is None


def test_figures_are_compared_by_the_test_that_fits_and_corrected_together():
    chance = random.Random(1)
    base = [chance.random() < 0.5 for _ in range(120)]
    tuned = [each or chance.random() < 0.3 for each in base]
    small = [each or n in (3, 9, 11, 12, 15, 18) for n, each in enumerate(base)]
    grouped = [n // 4 for n in range(120)]
    measures = [
        Measure("a", {"base": rows(base), "tuned": rows(tuned), "v1": rows(base)}),
        Measure("b", {"base": rows(base), "tuned": rows(small)}),
        Measure("c", {"base": rows(base, grouped), "tuned": rows(tuned, grouped)}),
    ]
    found = {figure["name"]: figure for figure in results([Finding(measures)], [], 3)["metrics"]}
    assert [(each["against"], each["model"]) for each in found["a"]["comparisons"]] == [("base", "tuned"), ("base", "v1"), ("tuned", "v1")]
    first = found["a"]["comparisons"][0]
    assert (first["test"], first["flipped"]) == ("McNemar, exact", (0, sum(tuned) - sum(base)))
    assert found["c"]["comparisons"][0]["test"] == "paired bootstrap"
    assert found["a"]["verdict"] == "better"
    same = found["a"]["comparisons"][1]
    assert (same["p"], same["verdict"]) == (1.0, "no clear difference")
    few = found["b"]["comparisons"][0]
    lucky = sum(small) - sum(base)
    assert few["p"] == pytest.approx(mcnemar(0, lucky), abs=1e-6)
    assert few["p_holm"] >= few["p"]
    assert found["a"]["comparisons"][2]["verdict"] == "worse"


def test_the_bootstraps_p_is_even_where_there_is_nothing():
    chance = random.Random(6)
    low = 0
    for seed in range(300):
        base, tuned = [chance.random() for _ in range(40)], [chance.random() for _ in range(40)]
        low += difference(rows(base), rows(tuned), seed=seed).p < 0.1
    assert 0.05 < low / 300 < 0.16
    assert difference(rows([1.0] * 5), rows([0.0] * 5), seed=0).p is None
