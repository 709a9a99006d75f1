"""How sure a figure is: bootstrap intervals over documents, paired where two models answer the same rows."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from src.eval.measure import Figure, Row

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
    p: float | None = None
    """Of a difference: the probability of one as large where there is none (two-sided bootstrap); None where no spread shows."""


def interval(
    rows: Sequence[Row], *, seed: int, confidence: float = 0.95, exponential: bool = False, figure: Figure | None = None
) -> Interval:
    """Percentile bootstrap of a ratio of sums (Efron & Tibshirani 1993, ch. 13), whole documents drawn together.

    A rate whose rows all agree has no spread to resample, so its range is Wilson's (1927); a perplexity's or a score's is open.
    With a `figure` it is that of the sums of the rows' `parts`; one that is 1 throughout has the range of a rate.
    """
    codes, count, unit = _units(rows)
    if figure:
        sums = _part_sums(rows, codes, count)
        point, draws = float(figure(sums.sum(0))), _figure_draws(sums, seed, figure)
    else:
        value, weight = _sums(rows, codes, count)
        point, draws = float(_figure(value.sum(), weight.sum(), exponential)), _draws([(value, weight)], seed, exponential)[0]
    low, high = _range(draws, confidence)
    if low == high and (not figure or point == 1):
        low, high = _wilson(point, count, confidence) if 0 <= point <= 1 and not exponential else (0.0, math.inf)
    return Interval(point, low, high, len(rows), count, unit)


def difference(
    base: Sequence[Row],
    tuned: Sequence[Row],
    *,
    seed: int,
    confidence: float = 0.95,
    exponential: bool = False,
    figure: Figure | None = None,
) -> Interval:
    """Tuned minus base by paired bootstrap (Koehn 2004): each resample holds the same rows for both.

    Where every row agrees, a rate's range is joined from both models' own by Newcombe's method 10 (1998), which takes
    the models as independent and so is wide.
    """
    by_id = {row.id: row for row in base}
    after = [row for row in tuned if row.id in by_id]
    before = [by_id[row.id] for row in after]
    codes, count, unit = _units(after)
    if figure:
        parts = [_part_sums(rows, codes, count) for rows in (before, after)]
        points = [float(figure(each.sum(0))) for each in parts]
        drawn = [_figure_draws(each, seed, figure) for each in parts]
    else:
        sums = [_sums(rows, codes, count) for rows in (before, after)]
        points = [float(_figure(value.sum(), weight.sum(), exponential)) for value, weight in sums]
        drawn = _draws(sums, seed, exponential)
    point = points[1] - points[0]
    low, high = _range(drawn[1] - drawn[0], confidence)
    p = None if low == high else _two_sided(drawn[1] - drawn[0])
    if low == high and (not figure or 1 in points):
        are_rates = not exponential and all(0 <= each <= 1 for each in points)
        low, high = _newcombe(points[0], points[1], count, confidence) if are_rates else (-math.inf, math.inf)
    return Interval(point, low, high, len(after), count, unit, p)


def estimate(rows: Sequence[Row], *, exponential: bool = False, figure: Figure | None = None) -> float:
    """The figure alone."""
    if figure:
        return float(figure(np.asarray([row.parts for row in rows]).sum(0)))
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


def _draws(sums: Sequence[tuple[Floats, Floats]], seed: int, exponential: bool) -> list[Floats]:
    """The figure of each pair of values and weights in each resample; the same seed and number of units draw the same units."""
    count = len(sums[0][0])
    chance = np.random.default_rng(seed)
    found: list[list[Floats]] = [[] for _ in sums]
    for _ in range(RESAMPLES // _CHUNK):
        drawn = chance.integers(0, count, size=(_CHUNK, count))
        for (value, weight), draws in zip(sums, found, strict=True):
            even = (weight == weight[0]).all()  # as those of single rows are: their sum needs no drawing
            draws.append(_figure(value[drawn].sum(1), weight[0] * count if even else weight[drawn].sum(1), exponential))
    return [np.concatenate(draws) for draws in found]


def _part_sums(rows: Sequence[Row], codes: NDArray[np.intp], count: int) -> Floats:
    parts = np.asarray([row.parts for row in rows], dtype=np.float64)
    return np.stack([np.bincount(codes, weights=part, minlength=count) for part in parts.T], axis=1)


def _figure_draws(sums: Floats, seed: int, figure: Figure) -> Floats:
    """The figure of summed parts in each resample; the same units are drawn as in `_draws`."""
    count = len(sums)
    chance = np.random.default_rng(seed)
    found = []
    for _ in range(RESAMPLES // _CHUNK):
        drawn = chance.integers(0, count, size=(_CHUNK, count))
        times = np.stack([np.bincount(each, minlength=count) for each in drawn]).astype(np.float64)
        found.append(figure(times @ sums))
    return np.concatenate(found)


def _figure(value: Floats | float, weight: Floats | float, exponential: bool) -> Floats:
    mean = np.asarray(value, dtype=np.float64) / weight
    return np.exp(np.minimum(mean, 700.0)) if exponential else mean  # e to the 709 is the largest double


def _range(draws: Floats, confidence: float) -> tuple[float, float]:
    tail = (1 - confidence) / 2
    low, high = np.quantile(draws, [tail, 1 - tail])
    return float(low), float(high)


def _two_sided(draws: Floats) -> float:
    """Twice the share of resamples on the other side of zero (Davison & Hinkley 1997, 4.4); never 0."""
    below, above = int((draws <= 0).sum()), int((draws >= 0).sum())
    return min(1.0, 2 * (1 + min(below, above)) / (1 + len(draws)))


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
