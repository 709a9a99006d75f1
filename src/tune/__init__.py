"""Search for better settings with Optuna: trials that survive kills, the best config as YAML."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from src import STAGES
from src.core.config import Config, FromEnv
from src.core.project import Project

Scalar = bool | int | float | str | None
LONGEST = "eval"
"""The last stage that a trial may run."""


class Range(Config):
    """Numbers from `low` to `high`, both included; whole ones where both are."""

    low: int | float
    """Least value."""
    high: int | float
    """Greatest value."""
    log: bool = False
    """Draw evenly from the logarithms: for learning rates and other values that span powers of ten."""
    step: int | float | None = Field(default=None, gt=0)
    """Distance between two values that may be drawn."""

    @model_validator(mode="after")
    def in_order(self) -> Self:
        """Fail on a range that holds nothing, and on a logarithm of nothing."""
        if self.low >= self.high:
            raise ValueError(f"low {self.low} is not below high {self.high}")
        if self.log and (self.low <= 0 or self.step is not None):
            raise ValueError("`log` needs a low above 0 and no step")
        return self

    @property
    def whole(self) -> bool:
        """Whether it is a range of integers."""
        return all(isinstance(each, int) for each in (self.low, self.high, self.step or 1))

    def holds(self, value: object) -> bool:
        """Whether the range includes `value`."""
        return isinstance(value, int | float) and self.low <= value <= self.high


Choices = Annotated[tuple[Scalar | tuple[Scalar, ...], ...], Field(min_length=2)]


class TuneConfig(Config):
    """What is searched, by how many trials, and what they are judged by."""

    space: dict[str, Range | Choices] = Field(min_length=1)
    """Keys of this file with what they may be: `{train.lora.r: [8, 16, 32], train.learning_rate: {low: 1e-5, high: 1e-3, log: true}}`."""
    settings: dict[str, Scalar | tuple[Scalar, ...]] = Field(default_factory=dict)
    """Keys set in every trial, such as `{train.max_steps: 200}` for shorter ones; the best config does not have them."""
    trials: int = Field(default=20, ge=1)
    """How many trials there are in all; raised later, the search goes on."""
    objective: str = Field(default="train.validation_loss", pattern=r"^(train|eval)\..+$")
    """Figure that is compared: `train.` and one of its manifest's info, or `eval.` and a metric such as `eval.tool_calls.accuracy`."""
    direction: Literal["minimize", "maximize"] = "minimize"
    """Whether the least or the greatest is best."""
    pruner: Literal["median", "hyperband", "none"] = "median"
    """When a trial is given up early by the objective's course in `metrics.jsonl`: worse than the median of the others, successive
    halving, or never. An objective of eval has no course."""
    storage: Annotated[str | None, FromEnv("TUNE_STORAGE")] = None
    """Database URL of a study that several machines share, from the environment if it holds a password; null: SQLite beside the output."""

    @model_validator(mode="after")
    def keys_are_of_stages(self) -> Self:
        """Fail on a key that no trial can set, and on a password."""
        for key in (*self.space, *self.settings):
            if key.split(".")[0] not in (*STAGES[: STAGES.index(LONGEST) + 1], "seed"):
                raise ValueError(f"{key!r} is no key of a stage up to {LONGEST}, such as train.lora.r")
        if both := set(self.space) & set(self.settings):
            raise ValueError(f"{min(both)!r} is in `space` and in `settings`")
        return self

    @property
    def last(self) -> str:
        """The stage that gives the objective."""
        return self.objective.split(".")[0]


@dataclass(frozen=True)
class Tuned:
    """What a search found."""

    best: Path
    """Project file with the best settings."""
    table: str
    """The trials, best first."""
    value: float
    """The objective of the best trial."""
    default: float | None
    """That of the config as it was; None where its values lie outside the space."""


def tune(project: Project) -> Tuned:
    """Search, or go on searching.

    Raises:
        MlxError: Where the section is missing, a key of the space is none, an input is not there, or no trial ends well.
    """
    from src.tune.search import Search

    return Search(project).do()


def folder(name: str) -> Path:
    """Where the search of the project `name` writes."""
    return Path("data") / name / "tune"
