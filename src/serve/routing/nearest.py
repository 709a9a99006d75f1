"""Tells the task of a prompt from its cosines with the examples."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Nearest:
    """The task whose examples are nearest."""

    task: str
    score: float
    """Mean cosine to the nearest of its examples."""
    margin: float
    """By how much the next task is farther; the score where there is no other."""


def nearest(cosines: Mapping[str, Iterable[float]], neighbours: int) -> Nearest:
    """Nearest neighbours, each task by the mean of its own: so that a task with many examples is not likelier for that.

    Args:
        cosines: Of the prompt with each task's examples; one at least.
        neighbours: How many of a task count.
    """
    scores = {task: _mean(sorted(each, reverse=True)[:neighbours]) for task, each in cosines.items()}
    task = max(scores, key=lambda name: scores[name])
    others = [score for name, score in scores.items() if name != task]
    return Nearest(task, scores[task], scores[task] - max(others) if others else scores[task])


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else -1.0
