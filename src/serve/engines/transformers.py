"""A model in the server's own process."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from src.serve.engines.part import ModelPart
from src.serve.engines.source import trained_at

if TYPE_CHECKING:
    from src.models.trained import Trained
    from src.serve.engine import Engine


DEFAULT = 1024  # tokens of an answer that nobody bounds


class TransformersEngine(ModelPart):
    """The model in the server's own process: one answer at a time, on any machine."""

    type: Literal["transformers"] = "transformers"
    model: Path | None = None
    """Folder of the training whose model it is (checkpoint/NAME/train); the project's own if unset."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the model runs; auto takes CUDA where there is one."""
    queue: int = Field(default=16, ge=0)
    """How many requests may wait while one is answered; more are sent away with 503."""

    def open(self, trained: "Trained | None", *, name: str, max_new_tokens: int | None, log: Path) -> "Engine":
        """Prepare the engine; it loads once it runs."""
        from src.serve.embedded import Embedded
        from src.serve.local import Local

        del log  # it logs where the server does
        found = trained_at(self.model, trained)
        limit = self.max_new_tokens or max_new_tokens or DEFAULT
        return Embedded(lambda: Local.of(found, limit=limit, device=self.device), name=name, queue=self.queue)
