"""Numbers as TensorBoard event files: `tensorboard --logdir checkpoint` shows them while the training runs."""

import logging
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from src.core.config import Config


class TensorBoard(Config):
    """Event files for TensorBoard."""

    type: Literal["tensorboard"] = "tensorboard"

    def open(self, folder: Path, *, upto: int = 0) -> "Events | None":
        """Write to `folder`/tensorboard, passing over what an interrupted run noted after the step `upto`."""
        if find_spec("tensorboard") is None:
            logging.getLogger("mlx.track").info("no TensorBoard files: the package tensorboard is not installed")
            return None
        from torch.utils.tensorboard import SummaryWriter

        return Events(SummaryWriter(folder / "tensorboard", purge_step=upto + 1 if upto else None))


class Events:
    """Open event files."""

    def __init__(self, writer: Any) -> None:
        self.writer = writer

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Add a point to the curve of each name."""
        for name, value in values.items():
            group, _, rest = name.partition("_")
            tag = f"validation/{rest}" if group == "validation" else f"train/{name}"
            self.writer.add_scalar(tag, value, step)

    def close(self) -> None:
        """Write what is still held back."""
        self.writer.close()
