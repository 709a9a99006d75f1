"""The backend for everything that speaks OpenAI's chat API: OpenAI, OpenRouter, vLLM, llama.cpp, …"""

from ipaddress import ip_address
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from src.core.address import http_url
from src.core.config import Config, Cosmetic
from src.core.secrets import secret
from src.llm.client import Client


def is_loopback(url: str) -> bool:
    """Whether the server is on this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def key_for(url: str, name: str | None) -> str:
    """The key in the environment variable `name`; none where no variable is named, or this machine's own server has none."""
    import os

    if not name or (is_loopback(url) and not os.environ.get(name, "").strip()):
        return "none"
    return secret(name, f"the key for {url}")


class OpenAIBackend(Config):
    """Talks to a server with OpenAI's chat API; OpenRouter: base_url https://openrouter.ai/api/v1, api_key_env OPENROUTER_API_KEY."""

    type: Literal["openai"] = "openai"
    """Talk to a server with OpenAI's chat API."""
    model: str = Field(min_length=1)
    """Name of the model, as the server knows it."""
    base_url: Annotated[str, AfterValidator(http_url)] = "https://api.openai.com/v1"
    """Address of the API, mostly ending in /v1."""
    api_key_env: Annotated[str | None, Cosmetic()] = "OPENAI_API_KEY"
    """Name of the environment variable that holds the key; null for a server that wants none, as one on this machine mostly does."""
    timeout: Annotated[float, Field(gt=0), Cosmetic()] = 120
    """Seconds to wait for an answer."""
    max_retries: Annotated[int, Field(ge=0), Cosmetic()] = 4
    """Further tries, ever later, where the server is busy, broken or out of reach."""
    referer: Annotated[str | None, Cosmetic()] = None
    """Address of your project, sent as `HTTP-Referer`; OpenRouter lists its callers by it."""
    title: Annotated[str | None, Cosmetic()] = None
    """Name of your project, sent as `X-Title`."""

    @property
    def name(self) -> str:
        """What to call the model."""
        return self.model

    def open(self) -> Client:
        """Connect; fails where the key is missing."""
        from src.llm.openai_client import OpenAIClient

        sent = (("HTTP-Referer", self.referer), ("X-Title", self.title))
        return OpenAIClient(**connection(self), headers={name: value for name, value in sent if value})


def connection(server: Any) -> dict[str, Any]:
    """How to reach a server: arguments for its client, from a backend's `model`, `base_url`, `api_key_env`, `timeout` and `max_retries`."""
    return {
        "base_url": server.base_url,
        "model": server.model,
        "key": key_for(server.base_url, server.api_key_env),
        "timeout": server.timeout,
        "max_retries": server.max_retries,
        "trusts_environment": not is_loopback(server.base_url),
        "hints": {
            "start": "start the server, or mend base_url",
            "key": f"mend {server.api_key_env or 'api_key_env'} in .env",
            "model": "mend `model`, or base_url",
        },
    }
