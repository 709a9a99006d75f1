"""The source `open_meteo`: real weather answers, as what a weather tool would give."""

from collections.abc import Iterator
from datetime import date
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from src.core.config import Cosmetic
from src.core.ledger import Drop
from src.core.records import Record
from src.scrape.answer import Question, answer, as_record
from src.scrape.fetcher import Fetcher
from src.scrape.manners import Manners
from src.scrape.places import Place, Places
from src.scrape.source import Piece

_LICENCE = "CC BY 4.0 (weather data by Open-Meteo.com)"
_CURRENT = ("temperature_2m", "apparent_temperature", "relative_humidity_2m", "weather_code", "wind_speed_10m", "wind_direction_10m")
_DAILY = ("weather_code", "temperature_2m_max", "temperature_2m_min", "precipitation_sum")
_TOOLS = {"forecast": "get_forecast", "archive": "get_past_weather"}


class OpenMeteoSource(Manners):
    """Forecasts or past weather of places, and their geocoding, a record each; free for what earns no money, so it asks slowly."""

    type: Literal["open_meteo"] = "open_meteo"
    places: Places
    """Names such as `Samara`, or `{name: Samara, latitude: 53.2, longitude: 50.1}`."""
    kind: Literal["forecast", "archive"] = "forecast"
    """Weather to come, or of days past."""
    current: tuple[str, ...] = _CURRENT
    """Variables of the present; forecast only."""
    hourly: tuple[str, ...] = ()
    """Variables by the hour."""
    daily: tuple[str, ...] = _DAILY
    """Variables by the day."""
    start: date | None = None
    """First day; archive needs it."""
    end: date | None = None
    """Last day; archive needs it."""
    days: int = Field(default=7, ge=1, le=16)
    """Days of a forecast, where no first and last one are set."""
    timezone: str = "auto"
    """Time zone of what comes; `auto` for the place's own."""
    language: str = "en"
    """Language of the names that are looked up."""
    url: str = "https://api.open-meteo.com/v1/forecast"
    """Address of the forecast."""
    archive_url: str = "https://archive-api.open-meteo.com/v1/archive"
    """Address of the archive."""
    geocoding_url: str = "https://geocoding-api.open-meteo.com/v1/search"
    """Address of the search for names."""
    delay: Annotated[float, Field(ge=0), Cosmetic()] = 1.0
    """Seconds between two requests to a host."""

    @model_validator(mode="after")
    def _has_days(self) -> "OpenMeteoSource":
        if self.kind == "archive" and not (self.start and self.end):
            raise ValueError("the archive needs `start` and `end`")
        if bool(self.start) != bool(self.end) or (self.start and self.end and self.end < self.start):
            raise ValueError("`start` and `end` stand together, the first one first")
        return self

    def pieces(self, work: Path, cache: Path) -> Iterator[Piece | Drop]:
        """Yield a piece a place."""
        hosts = {urlsplit(url).hostname or "" for url in (self.url, self.archive_url, self.geocoding_url)}
        fetcher = self.fetcher(cache, hosts)
        for place in self.places:
            yield Piece(f"open_meteo:{self.kind}:{place.key}", partial(self._records, fetcher, place))

    def _records(self, fetcher: Fetcher, place: Place) -> Iterator[Record | Drop]:
        if not place.is_located:
            found = self._looked_up(fetcher, place)
            yield found[0]
            if found[1] is None:
                return
            place = found[1]
        asked = self._question(place)
        weather = answer(fetcher, asked, wait=patience)
        yield weather if isinstance(weather, Drop) else as_record(asked, weather)

    def _looked_up(self, fetcher: Fetcher, place: Place) -> tuple[Record | Drop, Place | None]:
        parameters = {"name": place.name, "count": 5, "language": self.language, "format": "json"}
        asked = Question(f"open_meteo:geocoding:{place.key}", self.geocoding_url, "find_place", parameters, self._meta(place))
        found = answer(fetcher, asked, wait=patience)
        if isinstance(found, Drop):
            return found, None
        results = found.get("results") if isinstance(found, dict) else None  # an empty answer has no such key
        best = results[0] if isinstance(results, list) and results and isinstance(results[0], dict) else {}
        try:
            return as_record(asked, found), Place(name=place.name, latitude=best["latitude"], longitude=best["longitude"])
        except (KeyError, ValueError):
            return Drop(asked.name, "not_found", f"no place is called {place.name!r}", {"url": asked.address}), None

    def _question(self, place: Place) -> Question:
        lists = {"current": self.current if self.kind == "forecast" else (), "hourly": self.hourly, "daily": self.daily}
        span: dict[str, Any] = {"start_date": self.start, "end_date": self.end} if self.start else {"forecast_days": self.days}
        parameters = {
            "latitude": place.latitude,
            "longitude": place.longitude,
            **{key: ",".join(names) for key, names in lists.items() if names},
            **{key: str(value) for key, value in span.items()},
            "timezone": self.timezone,
        }
        url = self.archive_url if self.kind == "archive" else self.url
        return Question(f"open_meteo:{self.kind}:{place.key}", url, _TOOLS[self.kind], parameters, self._meta(place))

    def _meta(self, place: Place) -> dict[str, Any]:
        return {"source": f"open_meteo:{place.key}", "title": place.key, "licence": _LICENCE}


def patience(body: bytes) -> float:
    """Seconds to wait after a refusal: a minute for the limit a minute; for ever, so not at all, for those of an hour or a day."""
    said = body.lower()
    if b"hourly" in said or b"daily" in said or b"monthly" in said:
        return float("inf")
    return 61.0 if b"minutely" in said else 0.0
