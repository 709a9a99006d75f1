"""Settings of `task: classify`."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from src.core.config import Config
from src.core.errors import did_you_mean

Watched = Literal["validation_loss", "validation_accuracy", "validation_macro_f1", "validation_mcc"]


class Classification(Config):
    """A head that tells classes apart, on a decoder with LoRA or on an encoder whose weights are all trained (`lora: null`)."""

    labels: tuple[str, ...] = ()
    """The classes in the model's order; rows of other classes are dropped. Empty: the classes of the training rows, by name."""
    weights: Literal["none", "balanced"] | dict[str, Annotated[float, Field(gt=0)]] = "none"
    """How much a row of each class counts: all the same, `balanced` (the rarer, the more), or numbers by class. Their mean is made 1."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Share of a row's weight that is spread evenly over all classes."""
    too_long: Literal["drop", "truncate"] = "drop"
    """What becomes of texts over `sequence_length` tokens: dropped, or their beginning is taken and they are counted as truncated."""
    watch: tuple[Watched, ...] = ()
    """Figures on the validation split of which one has to get better for `patience` not to run out; empty: the one named by `best`."""

    @model_validator(mode="after")
    def classes_are_told_apart(self) -> Self:
        """Name a class that is there twice, and a weight of none."""
        if twice := next((name for name in self.labels if self.labels.count(name) > 1), None):
            raise ValueError(f"labels: {twice!r} is there twice")
        if len(self.labels) == 1:
            raise ValueError("labels: needs two classes at least")
        for name in self.weights if isinstance(self.weights, dict) and self.labels else ():
            if name not in self.labels:
                raise ValueError(f"weights: no class is called {name!r}{did_you_mean(name, self.labels)}")
        return self
