"""Numbers as TensorBoard event files: `tensorboard --logdir checkpoint` shows them while the training runs."""

import logging
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from src.core.config import Config
from src.track.names import flat, tag


class TensorBoard(Config):
    """Event files for TensorBoard."""

    type: Literal["tensorboard"] = "tensorboard"

    def open(self, folder: Path, *, upto: int, project: str, settings: Mapping[str, Any]) -> "Events | None":
        """Write to `folder`/tensorboard, passing over what an interrupted run noted after the step `upto`."""
        if find_spec("tensorboard") is None:
            logging.getLogger("mlx.track").info("no TensorBoard files: the package tensorboard is not installed")
            return None
        from torch.utils.tensorboard import SummaryWriter

        writer = SummaryWriter(folder / "tensorboard", purge_step=upto + 1 if upto else None)
        if not upto:
            writer.add_text("settings", "\n".join(f"    {name}: {value}" for name, value in flat(settings).items()))
        return Events(writer)


class Events:
    """Open event files."""

    def __init__(self, writer: Any) -> None:
        self.writer = writer

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Add a point to the curve of each name."""
        for name, value in values.items():
            self.writer.add_scalar(tag(name), value, step)

    def close(self, output: str | None = None) -> None:
        """Write what is still held back."""
        if output:
            self.writer.add_text("output", output)
        self.writer.close()
