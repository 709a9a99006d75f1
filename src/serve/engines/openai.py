"""Any server with OpenAI's API: a vLLM elsewhere, llama.cpp, text-generation-inference, OpenRouter, OpenAI."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, Field

from src.core.address import http_url
from src.core.config import Cosmetic
from src.core.secrets import secret
from src.serve.engines.part import FarPart

if TYPE_CHECKING:
    from src.models.trained import Trained
    from src.serve.engine import Engine


class OpenAIEngine(FarPart):
    """A server with OpenAI's API, on this machine or another."""

    type: Literal["openai"]
    """A server with OpenAI's API."""
    url: Annotated[str, AfterValidator(http_url)]
    """Address of the API, mostly ending in /v1."""
    model: str = Field(min_length=1, max_length=256)
    """Name of the model, as that server knows it."""
    key_env: Annotated[str | None, Cosmetic()] = None
    """Environment variable with the key for that server; none is sent if unset."""
    count_tokens: bool | None = None
    """Whether vLLM or llama.cpp is asked how many tokens a long prompt has (/tokenize); only a server that takes no key if unset."""

    def open(self, trained: "Trained | None", *, name: str, max_new_tokens: int | None, log: Path) -> "Engine":
        """Prepare; fails where the key is missing."""
        from src.serve.engines.upstream import Upstream

        del trained, log  # it is there already, and logs where it runs
        key = secret(self.key_env, f"the key for {self.url}") if self.key_env else None
        counts = self.count_tokens if self.count_tokens is not None else key is None
        longest = self.max_new_tokens or max_new_tokens
        return Upstream(self, url=self.url, name=name, model=self.model, key=key, longest=longest, counts=counts)
