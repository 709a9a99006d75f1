"""The source `openweathermap`: weather answers of OpenWeatherMap, with a key from the environment."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field

from src.core.config import Cosmetic
from src.core.ledger import Drop
from src.core.records import Record
from src.core.secrets import secret
from src.scrape.answer import Question, answer, as_record
from src.scrape.fetcher import Fetcher
from src.scrape.manners import Manners
from src.scrape.places import Place, Places
from src.scrape.source import Piece

KEY = "OPENWEATHERMAP_API_KEY"
_TOOLS = {"weather": "get_current_weather", "forecast": "get_forecast"}


class OpenWeatherMapSource(Manners):
    """Weather now or the forecast of five days, a record a place; the key is OPENWEATHERMAP_API_KEY of the environment."""

    type: Literal["openweathermap"] = "openweathermap"
    places: Places
    """Names such as `Samara,RU`, or `{latitude: 53.2, longitude: 50.1}`."""
    kind: Literal["weather", "forecast"] = "weather"
    """The weather now, or the forecast in steps of three hours."""
    units: Literal["metric", "imperial", "standard"] = "metric"
    """Units of what comes."""
    url: str = "https://api.openweathermap.org/data/2.5"
    """Address of the API."""
    delay: Annotated[float, Field(ge=0), Cosmetic()] = 1.0
    """Seconds between two requests; a free key has sixty a minute."""

    def pieces(self, work: Path, cache: Path) -> Iterator[Piece | Drop]:
        """Yield a piece a place."""
        key = secret(KEY, "OpenWeatherMap answers with a key only; open_meteo needs none")
        fetcher = self.fetcher(cache, [urlsplit(self.url).hostname or ""])
        for place in self.places:
            yield Piece(f"openweathermap:{self.kind}:{place.key}", partial(self._record, fetcher, place, key))

    def _record(self, fetcher: Fetcher, place: Place, key: str) -> Iterator[Record | Drop]:
        where = {"lat": place.latitude, "lon": place.longitude} if place.is_located else {"q": place.name}
        asked = Question(
            f"openweathermap:{self.kind}:{place.key}",
            f"{self.url.rstrip('/')}/{self.kind}",
            _TOOLS[self.kind],
            {**where, "units": self.units},
            {"source": f"openweathermap:{place.key}", "title": place.key, "licence": "ODbL (weather data by OpenWeather)"},
            {"appid": key},
        )
        found = answer(fetcher, asked)
        yield found if isinstance(found, Drop) else as_record(asked, found)
