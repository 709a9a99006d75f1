"""A model in Ollama, asked by its native API: that one obeys num_ctx and says what it did."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, Field

from src.core.address import http_url
from src.core.config import Cosmetic, FromEnv
from src.serve.engines.part import FarPart

if TYPE_CHECKING:
    from src.models.trained import Trained
    from src.serve.engine import Engine


class OllamaEngine(FarPart):
    """A model in Ollama, on this machine or another; `serve.residency` loads and unloads it where vram_gb or ram_gb are set."""

    type: Literal["ollama"]
    """A model in Ollama."""
    model: str = Field(min_length=1, max_length=256, pattern=r"^[\w.:/-]+$")
    """Name of the model, as `ollama list` shows it."""
    base_url: Annotated[str, AfterValidator(http_url), FromEnv("OLLAMA_BASE_URL"), Cosmetic()] = "http://127.0.0.1:11434"
    """Address of Ollama."""
    keep_alive: str | int | None = None
    """How long Ollama keeps it after an answer ("30m", seconds, -1 for ever); Ollama's own 5 minutes if unset, for ever with residency."""
    check_prompt: bool = True
    """Whether an answer fails where Ollama read far fewer tokens than were sent. Old versions do not count cached ones."""

    def open(self, trained: "Trained | None", *, name: str, max_new_tokens: int | None, log: Path) -> "Engine":
        """Prepare; nothing is connected yet."""
        from src.serve.engines.ollama_upstream import OllamaUpstream

        del trained, log  # it has its own models, and logs where it runs
        return OllamaUpstream(self, name=name, longest=self.max_new_tokens or max_new_tokens)
