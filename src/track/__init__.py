"""Where numbers go: files and TensorBoard."""

from collections.abc import Mapping
from typing import Protocol

from src.track.tensorboard import TensorBoard


class Log(Protocol):
    """An open tracker."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Note `values`, by name, as they are at `step`."""

    def close(self) -> None:
        """Write what is still held back."""


# the discriminated union of trackers, once there are two
Tracker = TensorBoard
