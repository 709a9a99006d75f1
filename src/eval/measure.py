"""What a metric finds: a number a row, from which values, intervals and breakdowns are drawn."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from src.core.records import Record
from src.eval.cases import Case

BASE, TUNED = "base", "tuned"


@dataclass(frozen=True, slots=True)
class Row:
    """What one model got for one row."""

    id: str
    group: str
    """The document the row was cut from, or its own id: rows of a group rise and fall together."""
    tags: tuple[str, ...]
    value: float
    weight: float = 1.0
    """A measure is the sum of values over the sum of weights."""
    why: str = ""
    """What was wrong, in words; empty where nothing was."""


@dataclass(frozen=True)
class Measure:
    """One figure, such as `tool_calls.accuracy`, for each model on the same rows."""

    name: str
    rows: Mapping[str, list[Row]]
    """By model."""
    lower_is_better: bool = False
    exponential: bool = False
    """The figure is e to the mean, as a perplexity is."""


@dataclass(frozen=True)
class Finding:
    """All that a metric has to say."""

    measures: list[Measure] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    """Why a figure could not be measured, by its name."""
    detail: dict[str, Any] = field(default_factory=dict)
    """How it was measured, where that is not plain: the style judge's own test."""


@dataclass(frozen=True)
class Evidence:
    """What metrics read; nothing here generates."""

    cases: list[Case]
    answers: Mapping[str, Mapping[str, str]]
    """The text a model wrote, by model and case id."""
    likelihoods: Mapping[str, list[Row]]
    """By model: a row an example, value the negative log-likelihood in nats, weight the tokens."""
    bytes_of: Mapping[str, int]
    """UTF-8 bytes of the tokens that count in an example's likelihood."""
    records: Iterable[Record]
    """The project's own texts without those the held-out rows were made from; read at most once."""
    persona: Mapping[str, Any] | None
    """What a record's meta says where it is in the voice that is trained."""
    seed: int
