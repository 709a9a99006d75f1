"""What the settings of all models behind the gateway have in common."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from src.core.config import Config

Name = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[\w.:/-]+$")]
"""What clients may call a model."""


class ModelPart(Config):
    """A model that clients may ask for."""

    context: int | None = Field(default=None, ge=16)
    """Tokens that a conversation may have, the answer included; as the engine has it if unset."""
    tokenizer: Path | None = None
    """Folder with tokenizer.json and chat template that count prompts; if unset the trained model's, else the engine counts or we guess."""
    too_long: Literal["refuse", "trim"] = "refuse"
    """What happens to a prompt longer than `context`: 400, or its oldest turns are left out and the header x-mlx-trimmed says so."""
    max_new_tokens: int | None = Field(default=None, ge=1)
    """Longest answer in tokens, whatever a request asks for; no bound of ours if unset (the trained model: serve.max_new_tokens)."""
    max_body_mb: float | None = Field(default=None, gt=0, le=1024)
    """Largest request, in MB; serve.max_body_mb if unset."""
    request_timeout: float | None = Field(default=None, gt=0)
    """Seconds that an answer may take, to its last byte; serve.request_timeout if unset."""
    vram_gb: float = Field(default=0, ge=0)
    """GB that it takes on the GPU while it is loaded."""
    ram_gb: float = Field(default=0, ge=0)
    """GB that it takes in main memory while it is loaded."""


class UpstreamPart(ModelPart):
    """A model in another process, asked over HTTP."""

    connect_timeout: float = Field(default=5, gt=0)
    """Seconds until a connection stands."""
    first_byte_timeout: float = Field(default=300, gt=0)
    """Seconds until the answer begins; a long question to a large model takes minutes."""
    idle_timeout: float = Field(default=60, gt=0)
    """Seconds between two pieces of an answer that has begun."""
    retries: int = Field(default=1, ge=0, le=10)
    """Further tries where the engine is busy, broken or out of reach and no byte of the answer has come."""
    max_inflight: int = Field(default=256, ge=1)
    """Requests at once; more go to the next model in line, or are sent away with 503."""
    failures: int = Field(default=5, ge=1)
    """Failures in a row after which the engine is left alone for a while."""
    rest: float = Field(default=10, gt=0)
    """Seconds that it is left alone; then one request tries it."""


class FarPart(UpstreamPart):
    """A model on a server that is not ours."""

    probe: float | None = Field(default=15, ge=0.1)
    """Seconds without an answer after which the server is asked whether it is there, for its list of models or its version, which
    cost nothing; null never asks. One that is down is passed over where another model is in line."""
