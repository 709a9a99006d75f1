"""What a metric finds: a number a row, from which values, intervals and breakdowns are drawn."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.core.ledger import Drop
from src.core.records import Record
from src.eval.cases import Case

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BASE, TUNED = "base", "tuned"
Figure = Callable[["NDArray[np.float64]"], "NDArray[np.float64]"]
"""From sums (…, parts) to figures (…)."""


@dataclass(frozen=True, slots=True)
class Classified:
    """What is known of one row that was classified."""

    id: str
    group: str
    tags: tuple[str, ...]
    text: str
    true: int
    """Place of its class among the model's."""
    probabilities: Mapping[str, tuple[float, ...]]
    """Of each class, by model."""


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
    parts: tuple[float, ...] = ()
    """What is summed up where the measure is a figure of sums."""


@dataclass(frozen=True)
class Measure:
    """One figure, such as `tool_calls.accuracy`, for each model on the same rows."""

    name: str
    rows: Mapping[str, list[Row]]
    """By model."""
    lower_is_better: bool = False
    exponential: bool = False
    """The figure is e to the mean, as a perplexity is."""
    doubt: str = ""
    """Why it may not decide a gate, such as a judge that nobody has compared with people; empty where it may."""
    figure: Figure | None = None
    """What the figure is of the summed parts of the rows, where it is no ratio of two sums: a macro F1."""


@dataclass(frozen=True)
class Finding:
    """All that a metric has to say."""

    measures: list[Measure] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    """Why a figure could not be measured, by its name."""
    detail: dict[str, Any] = field(default_factory=dict)
    """How it was measured, where that is not plain: the style judge's own test."""
    drops: list[Drop] = field(default_factory=list)
    """Answers that no verdict could be had on, for the ledger."""


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
    cache: Path = Path()
    """A folder in which answers that were paid for stay."""
    accepted: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    """Calls that count as right, by example, where a suite of prompts says so."""
    classified: Sequence[Classified] = ()
    """Rows that a classifier was asked about."""
    labels: tuple[str, ...] = ()
    """Its classes."""
