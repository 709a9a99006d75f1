"""A model on Amazon Bedrock, asked by its Converse API."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from src.core.config import Cosmetic
from src.core.errors import MlxError
from src.serve.engines.part import UpstreamPart

if TYPE_CHECKING:
    from src.models.trained import Trained
    from src.serve.engine import Engine


class BedrockEngine(UpstreamPart):
    """A model on Amazon Bedrock; keys come from AWS's own environment variables, profiles or roles. Needs the extra `bedrock`."""

    type: Literal["bedrock"]
    """A model on Amazon Bedrock."""
    model: str = Field(min_length=1, max_length=2048)
    """Id of the model or inference profile, or its ARN."""
    region: Annotated[str | None, Cosmetic()] = None
    """AWS region; the one that AWS_REGION or the profile names if unset."""
    profile: Annotated[str | None, Cosmetic()] = None
    """Name of a profile in ~/.aws."""
    max_inflight: int = Field(default=32, ge=1, le=1000)
    """Requests at once, a thread for each; more go to the next model in line, or are sent away with 503."""

    def open(self, trained: "Trained | None", *, name: str, max_new_tokens: int | None, log: Path) -> "Engine":
        """Prepare; fails where there is no region, or the extra is not installed."""
        try:
            from src.serve.engines.bedrock_converse import BedrockConverse
        except ModuleNotFoundError as error:
            raise MlxError(f"models.{name}: an engine of type bedrock needs {error.name}", "uv sync --extra bedrock") from None
        del trained, log  # it is there already, and logs where it runs
        return BedrockConverse(self, name=name, longest=self.max_new_tokens or max_new_tokens)
