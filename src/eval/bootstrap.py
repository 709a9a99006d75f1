"""How sure a figure is: bootstrap intervals over documents, paired where two models answer the same rows."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from src.eval.measure import Row

RESAMPLES = 2000
FEWEST = 5  # documents; from fewer no spread between documents can be told, so rows are drawn instead
_CHUNK = 250  # resamples at a time, which bounds memory

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A figure and the range that its true value is in with the confidence asked for."""

    value: float
    low: float
    high: float
    rows: int
    units: int
    """How many independent things the range was drawn from."""
    unit: Literal["source", "row"]


def interval(rows: Sequence[Row], *, seed: int, confidence: float = 0.95, exponential: bool = False) -> Interval:
    """Percentile bootstrap of a ratio of sums (Efron & Tibshirani 1993, ch. 13), whole documents drawn together.

    A rate whose rows all agree has no spread to resample, so its range is Wilson's (1927); a perplexity's is open.
    """
    codes, count, unit = _units(rows)
    value, weight = _sums(rows, codes, count)
    draws = _draws(value, weight, seed, exponential)
    point = float(_figure(value.sum(), weight.sum(), exponential))
    low, high = _range(draws, confidence)
    if low == high:
        low, high = (0.0, math.inf) if exponential else _wilson(point, count, confidence)
    return Interval(point, low, high, len(rows), count, unit)


def difference(base: Sequence[Row], tuned: Sequence[Row], *, seed: int, confidence: float = 0.95, exponential: bool = False) -> Interval:
    """Tuned minus base by paired bootstrap (Koehn 2004): each resample holds the same rows for both.

    Where every row agrees, a rate's range is joined from both models' own by Newcombe's method 10 (1998), which takes
    the models as independent and so is wide.
    """
    by_id = {row.id: row for row in base}
    after = [row for row in tuned if row.id in by_id]
    before = [by_id[row.id] for row in after]
    codes, count, unit = _units(after)
    sums = [_sums(rows, codes, count) for rows in (before, after)]
    points = [float(_figure(value.sum(), weight.sum(), exponential)) for value, weight in sums]
    drawn = [_draws(value, weight, seed, exponential) for value, weight in sums]
    point = points[1] - points[0]
    low, high = _range(drawn[1] - drawn[0], confidence)
    if low == high:
        low, high = (-math.inf, math.inf) if exponential else _newcombe(points[0], points[1], count, confidence)
    return Interval(point, low, high, len(after), count, unit)


def estimate(rows: Sequence[Row], *, exponential: bool = False) -> float:
    """The figure alone."""
    return float(_figure(math.fsum(row.value for row in rows), math.fsum(row.weight for row in rows), exponential))


def _units(rows: Sequence[Row]) -> tuple[NDArray[np.intp], int, Literal["source", "row"]]:
    """Number the unit that each row belongs to."""
    places: dict[str, int] = {}
    codes = [places.setdefault(row.group, len(places)) for row in rows]
    if len(places) < min(FEWEST, len(rows)) or len(places) == len(rows):
        return np.arange(len(rows)), len(rows), "row"
    return np.asarray(codes), len(places), "source"


def _sums(rows: Sequence[Row], codes: NDArray[np.intp], count: int) -> tuple[Floats, Floats]:
    value = np.bincount(codes, weights=[row.value for row in rows], minlength=count)
    weight = np.bincount(codes, weights=[row.weight for row in rows], minlength=count)
    return value.astype(np.float64), weight.astype(np.float64)


def _draws(value: Floats, weight: Floats, seed: int, exponential: bool) -> Floats:
    """The figure in each resample; the same seed and number of units draw the same units."""
    count = len(value)
    chance = np.random.default_rng(seed)
    found = []
    for _ in range(RESAMPLES // _CHUNK):
        drawn = chance.integers(0, count, size=(_CHUNK, count))
        found.append(_figure(value[drawn].sum(1), weight[drawn].sum(1), exponential))
    return np.concatenate(found)


def _figure(value: Floats | float, weight: Floats | float, exponential: bool) -> Floats:
    mean = np.asarray(value, dtype=np.float64) / weight
    return np.exp(np.minimum(mean, 700.0)) if exponential else mean  # e to the 709 is the largest double


def _range(draws: Floats, confidence: float) -> tuple[float, float]:
    tail = (1 - confidence) / 2
    low, high = np.quantile(draws, [tail, 1 - tail])
    return float(low), float(high)


def _wilson(rate: float, count: int, confidence: float) -> tuple[float, float]:
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    middle = rate + z * z / (2 * count)
    reach = z * math.sqrt(rate * (1 - rate) / count + z * z / (4 * count * count))
    scale = 1 + z * z / count
    return max(0.0, (middle - reach) / scale), min(1.0, (middle + reach) / scale)


def _newcombe(before: float, after: float, count: int, confidence: float) -> tuple[float, float]:
    (low_b, high_b), (low_a, high_a) = _wilson(before, count, confidence), _wilson(after, count, confidence)
    point = after - before
    return point - math.hypot(after - low_a, high_b - before), point + math.hypot(high_a - after, before - low_b)
