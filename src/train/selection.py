"""Which state of a training is the best, and when to end early: told from what was measured, so a resumed run decides the same."""

from collections.abc import Mapping, Sequence

Measured = Mapping[str, float]
FALLING = {"loss"}
"""Figures of which less is better."""


def best_step(history: Sequence[Measured], figure: str) -> int:
    """The step whose `validation_<figure>` is best; the first of equals."""
    return int(max(history, key=lambda row: (_goodness(row, figure), -row["step"]))["step"])


def is_spent(history: Sequence[Measured], watch: Sequence[str], patience: int | None) -> bool:
    """Whether none of the watched figures has got better for `patience` measurements."""
    if patience is None or not history:
        return False
    newest = max(_last_better(history, figure) for figure in watch)
    return len(history) - 1 - newest >= patience


def _last_better(history: Sequence[Measured], figure: str) -> int:
    """Number of the measurement that was the last to better all before it."""
    values = [_goodness(row, figure) for row in history]
    return values.index(max(values))


def _goodness(row: Measured, figure: str) -> float:
    value = row[f"validation_{figure}"]
    return -value if figure in FALLING else value
