"""The backend for models on Amazon Bedrock."""

from typing import Annotated, Literal

from pydantic import Field

from src.core.config import Config, Cosmetic
from src.core.errors import MlxError
from src.llm.client import Client


class BedrockBackend(Config):
    """Talks to a model on Amazon Bedrock; keys come from AWS's own environment variables, profiles or roles. Needs the extra `bedrock`."""

    type: Literal["bedrock"] = "bedrock"
    """Talk to a model on Amazon Bedrock."""
    model: str = Field(min_length=1)
    """Id of the model or inference profile, or its ARN."""
    region: Annotated[str | None, Cosmetic()] = None
    """AWS region; null for the one that AWS_REGION or the profile names."""
    profile: Annotated[str | None, Cosmetic()] = None
    """Name of a profile in ~/.aws."""
    timeout: Annotated[float, Field(gt=0), Cosmetic()] = 120
    """Seconds to wait for an answer."""
    max_retries: Annotated[int, Field(ge=0), Cosmetic()] = 4
    """Further tries, ever later, where the service is busy or broken."""

    @property
    def name(self) -> str:
        """What to call the model."""
        return self.model

    def open(self) -> Client:
        """Connect; fails where there is no region, or the extra is not installed."""
        try:
            from src.llm.bedrock_client import BedrockClient
        except ModuleNotFoundError as error:
            raise MlxError(f"the bedrock backend needs {error.name}", "uv sync --extra bedrock") from None
        return BedrockClient(model=self.model, region=self.region, profile=self.profile, timeout=self.timeout, max_retries=self.max_retries)
