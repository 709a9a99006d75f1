"""Whether a difference may be luck: McNemar's test, Holm's correction, and what a sample can see at all."""

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import TypeVar

from src.eval.measure import Row

K = TypeVar("K")
DISCORDANT = 0.1
"""Share of rows on which two models are taken to disagree, before anything is known."""
POWER = 0.8


def mcnemar(only_first: int, only_second: int) -> float:
    """Exact two-sided p-value (McNemar 1947) from the rows that only one of two models got right."""
    flips, fewer = only_first + only_second, min(only_first, only_second)
    if not flips:
        return 1.0
    log_half = flips * math.log(0.5)
    tail = math.fsum(
        math.exp(math.lgamma(flips + 1) - math.lgamma(k + 1) - math.lgamma(flips - k + 1) + log_half) for k in range(fewer + 1)
    )
    return min(1.0, 2 * tail)


def holm(p_values: Mapping[K, float]) -> dict[K, float]:
    """Adjust p-values of several questions asked at once (Holm 1979): below 0.05 only one family in twenty errs at all."""
    adjusted: dict[K, float] = {}
    least = 0.0
    for rank, (key, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        least = max(least, min(1.0, (len(p_values) - rank) * p))
        adjusted[key] = least
    return adjusted


def flips(before: Sequence[Row], after: Sequence[Row]) -> tuple[int, int] | None:
    """Rows that only the first, and only the second model got right; None where rows are not simply right or wrong."""
    by_id = {row.id: row for row in before}
    pairs = [(by_id[row.id], row) for row in after if row.id in by_id]
    if not all(row.value in (0.0, 1.0) and row.weight == 1.0 for pair in pairs for row in pair):
        return None
    return sum(one.value > other.value for one, other in pairs), sum(one.value < other.value for one, other in pairs)


def signs(before: Sequence[Row], after: Sequence[Row]) -> tuple[int, int]:
    """Rows that fell, and rows that rose."""
    by_id = {row.id: row for row in before}
    changes = [row.value / (row.weight or 1.0) - by_id[row.id].value / (by_id[row.id].weight or 1.0) for row in after if row.id in by_id]
    return sum(each < 0 for each in changes), sum(each > 0 for each in changes)


def detectable(units: int, *, confidence: float = 0.95, discordant: float = DISCORDANT) -> float:
    """Least true difference of two shares that so many independent pairs see four times in five (Connor 1987, simplified).

    `discordant` is the share of rows on which the models disagree: the more, the less is seen.
    """
    z = NormalDist().inv_cdf(0.5 + confidence / 2) + NormalDist().inv_cdf(POWER)
    return min(1.0, z * math.sqrt(discordant / units)) if units else 1.0


def seen(low: float | None, high: float | None, *, confidence: float = 0.95) -> float | None:
    """Least true difference that a sample with this interval of it sees four times in five; None where the interval is open.

    The interval's width gives the standard error, and power adds to it what `detectable` adds to a guess made beforehand.
    """
    if low is None or high is None:
        return None
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    return (high - low) / (2 * z) * (z + NormalDist().inv_cdf(POWER))


def told(rows: int, units: int) -> str:
    """What a sample can see, in a line."""
    points = 100 * detectable(units)
    alone = f"{rows} turns" if rows == units else f"{rows} turns ({units} independent)"
    return f"{alone} cannot see less than {points:.1f} points where two models disagree on {DISCORDANT:.0%} of them (power {POWER:.0%})"
