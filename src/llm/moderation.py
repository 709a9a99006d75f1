"""The backend for moderation endpoints: classifiers that say of a text whether it is harmful, and how."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from src.core.address import http_url
from src.core.config import Config, Cosmetic
from src.llm.client import Client
from src.llm.openai import connection


class ModerationBackend(Config):
    """Asks a server's `/moderations`, as OpenAI has it; of a dialogue it judges what the user said last, and answers with JSON."""

    type: Literal["moderation"] = "moderation"
    """Ask a moderation endpoint."""
    model: str = Field("omni-moderation-latest", min_length=1)
    """Name of the classifier, as the server knows it."""
    base_url: Annotated[str, AfterValidator(http_url)] = "https://api.openai.com/v1"
    """Address of the API, mostly ending in /v1."""
    api_key_env: Annotated[str | None, Cosmetic()] = "OPENAI_API_KEY"
    """Name of the environment variable that holds the key; null for a server that wants none."""
    timeout: Annotated[float, Field(gt=0), Cosmetic()] = 60
    """Seconds to wait for a verdict."""
    max_retries: Annotated[int, Field(ge=0), Cosmetic()] = 4
    """Further tries, ever later, where the server is busy, broken or out of reach."""

    @property
    def name(self) -> str:
        """What to call the classifier."""
        return self.model

    def open(self) -> Client:
        """Connect; fails where the key is missing."""
        from src.llm.moderation_client import ModerationClient

        return ModerationClient(**connection(self))
