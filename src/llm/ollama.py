"""The backend for Ollama, on this machine or another one."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from src.core.address import http_url
from src.core.config import Config, Cosmetic, FromEnv
from src.llm.client import Client
from src.llm.openai import is_loopback


class OllamaBackend(Config):
    """Talks to Ollama through its OpenAI-compatible API."""

    type: Literal["ollama"] = "ollama"
    """Talk to Ollama."""
    model: str = Field(min_length=1)
    """Name of the model, as `ollama list` shows it."""
    base_url: Annotated[str, AfterValidator(http_url), FromEnv("OLLAMA_BASE_URL"), Cosmetic()] = "http://127.0.0.1:11434"
    """Address of Ollama."""
    timeout: Annotated[float, Field(gt=0), Cosmetic()] = 300
    """Seconds to wait for an answer; the first one waits for the model to load."""
    max_retries: Annotated[int, Field(ge=0), Cosmetic()] = 4
    """Further tries, ever later, where Ollama is busy."""

    @property
    def name(self) -> str:
        """What to call the model."""
        return self.model

    def open(self) -> Client:
        """Connect."""
        from src.llm.openai_client import OpenAIClient

        return OpenAIClient(
            base_url=f"{self.base_url.removesuffix('/v1')}/v1",
            model=self.model,
            key="ollama",
            timeout=self.timeout,
            max_retries=self.max_retries,
            trusts_environment=not is_loopback(self.base_url),
            hints={
                "start": "start it with `ollama serve`, or set OLLAMA_BASE_URL",
                "key": "let the server in front of Ollama pass",
                "model": f"fetch it with `ollama pull {self.model}`",
            },
        )
