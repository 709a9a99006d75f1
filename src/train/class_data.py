"""The rows of a classifier's training, ready for the model."""

from dataclasses import dataclass

from src.train.class_rows import ClassRow, Reading, class_counts


@dataclass(frozen=True)
class Data:
    """Training and validation rows, and how they were read."""

    reading: Reading
    train: list[ClassRow]
    validation: list[ClassRow]
    weights: list[float]
    """How much a row of each class counts in the loss."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes, in the model's order."""
        return self.reading.labels

    @property
    def counts(self) -> list[int]:
        """Training rows of each class."""
        return class_counts(self.train, len(self.labels))
