"""Where numbers go: files, TensorBoard, Weights & Biases, MLflow."""

from collections.abc import Mapping
from typing import Annotated, Protocol

from pydantic import Field

from src.track.mlflow import MLflow
from src.track.tensorboard import TensorBoard
from src.track.wandb import WandB


class Log(Protocol):
    """An open tracker."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Note `values`, by name, as they are at `step`."""

    def close(self, output: str | None) -> None:
        """Write what is still held back.

        Args:
            output: The folder that what was made goes to; None where the training did not come to its end.
        """


Tracker = Annotated[TensorBoard | WandB | MLflow, Field(discriminator="type")]
"""A tracker has `open(folder, *, upto, project, settings)`, which returns a Log, or None where it cannot be had.

`folder` is the training's own for unfinished work, with metrics.jsonl, and `upto` the step that an interrupted training
goes on from: no number is there twice, none is missing.
"""
