"""Bars that a model has to clear, with the doubt that a measurement leaves."""

from collections.abc import Iterable
from typing import Literal, Self

from pydantic import Field, model_validator

from src.core.config import Config

Verdict = Literal["pass", "fail", "undecided"]


class Gate(Config):
    """A bar for one figure: passed or failed where the whole interval is on one side of it, undecided where it lies across."""

    metric: str
    """The figure, such as `tool_calls.accuracy`."""
    model: str | None = None
    """Name of the model that has to clear it; the tuned one if unset."""
    against: str | None = None
    """Name of another model, such as `base`: `min_delta` asks for an improvement over it on the same rows."""
    min_delta: float | None = None
    """Least improvement, in the metric's good direction: an accuracy up by .1 and a perplexity down by .1 are both 0.1."""
    min: float | None = None
    """Least value of the tuned model."""
    max: float | None = None
    """Greatest value of the tuned model."""
    confidence: float = Field(0.95, gt=0, lt=1)
    """How sure the interval is."""

    @model_validator(mode="after")
    def asks_for_something(self) -> Self:
        """Refuse a gate that nothing could fail, and one whose halves do not fit."""
        if self.min_delta is None and self.min is None and self.max is None:
            raise ValueError("set min, max, or against with min_delta")
        if (self.min_delta is None) != (self.against is None):
            raise ValueError("against and min_delta go together")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min} is above max {self.max}")
        return self


def above(low: float, high: float, bar: float) -> Verdict:
    """Whether a value known to lie from `low` to `high` reaches `bar`."""
    return "pass" if low >= bar else "fail" if high < bar else "undecided"


def below(low: float, high: float, bar: float) -> Verdict:
    """Whether a value known to lie from `low` to `high` stays within `bar`."""
    return above(-high, -low, -bar)


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """One verdict for several: a failure counts most, then doubt."""
    found = set(verdicts)
    return "fail" if "fail" in found else "undecided" if "undecided" in found else "pass"
