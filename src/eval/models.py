"""The models that can be compared: the base, the tuned one, an earlier release, one behind an API."""

from typing import Annotated, Literal

from pydantic import Field

from src.core.config import Config, Cosmetic, InputPath
from src.eval.engine import EngineChoice
from src.eval.measure import BASE, TUNED
from src.llm.backend import Backend

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w.-]{0,63}$")]


class BaseModel(Config):
    """The base model without its training."""

    type: Literal["base"] = "base"
    name: Name = BASE
    """What report and gates call it."""
    engine: EngineChoice | None = None
    """What generates its answers; `eval.engine` if unset."""


class TunedModel(Config):
    """The model that was trained; gates judge it."""

    type: Literal["tuned"] = "tuned"
    name: Name = TUNED
    """What report and gates call it."""
    engine: EngineChoice | None = None
    """What generates its answers; `eval.engine` if unset."""


class Release(Config):
    """A model that an earlier training, or `mlx export merge`, left in a folder."""

    type: Literal["folder"] = "folder"
    name: Name
    """What report and gates call it."""
    path: InputPath
    """The folder, with its manifest.json."""
    engine: EngineChoice | None = None
    """What generates its answers; `eval.engine` if unset."""


class Remote(Config):
    """A model behind an API: it answers, but tells no likelihoods."""

    type: Literal["api"] = "api"
    name: Name
    """What report and gates call it."""
    backend: Backend
    """Where it is reached."""
    concurrency: Annotated[int, Field(ge=1, le=512), Cosmetic()] = 8
    """Calls at a time."""
    max_retries: Annotated[int, Field(ge=0), Cosmetic()] = 4
    """Further tries of a call, ever later, or when the server says."""


ModelChoice = Annotated[BaseModel | TunedModel | Release | Remote, Field(discriminator="type")]
"""A model to compare."""
