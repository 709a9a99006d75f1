"""A trained classifier, in a process of its own."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from src.serve.engines.part import ModelPart

if TYPE_CHECKING:
    from src.models.trained import Trained
    from src.serve.engine import Engine


PATIENCE = 60.0  # seconds that an answer may take where nobody says otherwise


class ClassifierEngine(ModelPart):
    """A classifier that `mlx train` made (task: classify), in a process beside the server: texts in, classes out, at /v1/classify."""

    type: Literal["classifier"] = "classifier"
    model: Path | None = None
    """Folder of the training (checkpoint/NAME/train); the project's own if unset."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the model runs; auto takes CUDA where there is one."""
    max_batch: int = Field(default=32, ge=1)
    """Most texts in one step of the model."""
    max_wait_ms: float = Field(default=5, ge=0, le=1000)
    """Milliseconds that a text waits for others while the model has nothing to do."""
    max_texts: int = Field(default=256, ge=1)
    """Most texts of one request; more are 413."""
    queue: int = Field(default=4096, ge=1)
    """Texts that may wait; further requests are sent away with 503."""

    def open(self, trained: "Trained | None", *, name: str, max_new_tokens: int | None, log: Path) -> "Engine":
        """Prepare the engine; it loads once it runs."""
        from src.serve.classify.engine import ClassifyEngine
        from src.serve.engines.source import classifier_at

        del max_new_tokens  # it writes nothing
        settings = {
            "folder": str(classifier_at(self.model, trained)),
            "device": self.device,
            "max_batch": self.max_batch,
            "max_wait": self.max_wait_ms / 1000,
            "queue": self.queue,
        }
        patience = self.request_timeout or PATIENCE
        return ClassifyEngine(name, settings, most=self.max_texts, patience=patience, path=log.with_suffix(".sock"), log=log)
