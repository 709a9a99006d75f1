"""Places that weather is asked for: by coordinates, or by a name that is looked up."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from src.core.config import Config


class Place(Config):
    """A place on Earth."""

    name: str = ""
    """Its name; looked up where no coordinates stand beside it."""
    latitude: float | None = Field(default=None, ge=-90, le=90)
    """Degrees north."""
    longitude: float | None = Field(default=None, ge=-180, le=180)
    """Degrees east."""

    @model_validator(mode="after")
    def _is_somewhere(self) -> "Place":
        if (self.latitude is None) != (self.longitude is None):
            raise ValueError("needs both latitude and longitude, or neither and a name")
        if self.latitude is None and not self.name.strip():
            raise ValueError("needs a name, or latitude and longitude")
        return self

    @property
    def is_located(self) -> bool:
        """Whether its coordinates are known."""
        return self.latitude is not None

    @property
    def key(self) -> str:
        """What it is called in ids."""
        return self.name or f"{self.latitude:g},{self.longitude:g}"


def _named(value: Any) -> Any:
    return tuple({"name": each} if isinstance(each, str) else each for each in value) if isinstance(value, list | tuple) else value


Places = Annotated[tuple[Place, ...], BeforeValidator(_named), Field(min_length=1)]
"""Places, of which a name alone is enough."""
