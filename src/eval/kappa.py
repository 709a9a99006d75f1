"""How well two people, or a person and a judge, agree beyond chance on a scale."""

import random
from collections import Counter
from collections.abc import Sequence

RESAMPLES = 1000


def kappa(one: Sequence[int], other: Sequence[int]) -> float:
    """Cohen's kappa with quadratic weights (1968): to be two apart counts four times as much as one; 1 where both always say the same."""
    seen = sum((a - b) ** 2 for a, b in zip(one, other, strict=True)) / len(one)
    ones, others = Counter(one), Counter(other)
    chance = sum((a - b) ** 2 * ones[a] * others[b] for a in ones for b in others) / len(one) ** 2
    return 1 - seen / chance if chance else 1.0


def kappa_interval(one: Sequence[int], other: Sequence[int], *, seed: int, confidence: float = 0.95) -> tuple[float, float]:
    """Percentile bootstrap over rows (Efron & Tibshirani 1993, ch. 13)."""
    chance, places = random.Random(seed), range(len(one))
    drawn = []
    for _ in range(RESAMPLES):
        rows = chance.choices(places, k=len(one))
        drawn.append(kappa([one[row] for row in rows], [other[row] for row in rows]))
    drawn.sort()
    tail = round(RESAMPLES * (1 - confidence) / 2)
    return drawn[tail], drawn[-1 - tail]
