"""Results as the weather services give them, with drawn values that fit the place, the season and each other."""

import math
import random
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

Value = float | int
UNITS = {
    "temperature_2m": "°C",
    "apparent_temperature": "°C",
    "relative_humidity_2m": "%",
    "precipitation": "mm",
    "weather_code": "wmo code",
    "cloud_cover": "%",
    "pressure_msl": "hPa",
    "wind_speed_10m": "km/h",
    "wind_direction_10m": "°",
    "wind_gusts_10m": "km/h",
    "temperature_2m_max": "°C",
    "temperature_2m_min": "°C",
    "precipitation_sum": "mm",
    "precipitation_probability_max": "%",
    "wind_speed_10m_max": "km/h",
    "uv_index_max": "",
    "european_aqi": "EAQI",
    "us_aqi": "USAQI",
    "pm10": "μg/m³",
    "pm2_5": "μg/m³",
    "ozone": "μg/m³",
    "nitrogen_dioxide": "μg/m³",
}
_CHOICES = {"°C": "temperature_unit", "km/h": "wind_speed_unit", "mm": "precipitation_unit"}
_OTHER = {  # factor, offset, decimals, unit as the service writes it
    "fahrenheit": (1.8, 32.0, 1, "°F"),
    "kn": (0.539957, 0.0, 1, "kn"),
    "ms": (0.277778, 0.0, 2, "m/s"),
    "mph": (0.621371, 0.0, 1, "mp/h"),
    "inch": (0.0393701, 0.0, 3, "inch"),
}


@dataclass(frozen=True, slots=True)
class Place:
    """A place as the geocoding service describes it."""

    name: str
    latitude: float
    longitude: float
    elevation: float
    country: str
    country_code: str
    timezone: str
    admin1: str

    def found(self) -> dict[str, Any]:
        """The place as a search result."""
        return {key: getattr(self, key) for key in self.__slots__}


def respond(tool: str, arguments: dict[str, Any], place: Place, today: date, chance: random.Random) -> dict[str, Any]:
    """Answer a call with well-formed arguments, in the shape of the Open-Meteo API."""
    # the service answers for the nearest cell of its grid, not for the point itself
    head = {"latitude": round(place.latitude * 16) / 16, "longitude": round(place.longitude * 16) / 16}
    zone = place.timezone if arguments.get("timezone") == "auto" else "GMT"
    result: dict[str, Any] = {
        **head,
        "generationtime_ms": round(chance.uniform(0.05, 1.5), 4),
        "timezone": zone,
        "elevation": place.elevation,
    }
    first = date.fromisoformat(arguments["start_date"]) if tool == "get_history" else today
    if current := arguments.get("current"):
        values = weather_of(place, first, chance)
        result["current_units"] = {"time": "iso8601", "interval": "seconds", **{key: converted(key, 0, arguments)[1] for key in current}}
        time = f"{first.isoformat()}T{chance.randint(6, 20):02d}:{chance.choice((0, 15, 30, 45)):02d}"
        result["current"] = {"time": time, "interval": 900, **{key: converted(key, values[key], arguments)[0] for key in current}}
    if daily := arguments.get("daily"):
        last = (
            date.fromisoformat(arguments["end_date"]) if tool == "get_history" else first + timedelta(arguments.get("forecast_days", 7) - 1)
        )
        days = [first + timedelta(number) for number in range((last - first).days + 1)]
        found = [weather_of(place, day, chance) for day in days]
        result["daily_units"] = {"time": "iso8601", **{key: converted(key, 0, arguments)[1] for key in daily}}
        result["daily"] = {
            "time": [day.isoformat() for day in days],
            **{key: [converted(key, values[key], arguments)[0] for values in found] for key in daily},
        }
    return result


def converted(name: str, value: Value, arguments: dict[str, Any]) -> tuple[Value, str]:
    """A value in the unit that was asked for, and the unit."""
    unit = UNITS[name]
    other = _OTHER.get(arguments.get(_CHOICES.get(unit, ""), ""))
    if other is None:
        return value, unit
    factor, offset, decimals, written = other
    return round(value * factor + offset, decimals), written


def weather_of(place: Place, day: date, chance: random.Random) -> dict[str, Value]:
    """Draw one day's weather: warmer near the equator and in summer, colder in the heights, rain under clouds only."""
    season = math.cos(2 * math.pi * (day.timetuple().tm_yday - 200) / 365) * (1 if place.latitude >= 0 else -1)
    mean = 28 - 0.0075 * place.latitude**2 - place.elevation / 160 + season * min(14.0, abs(place.latitude) / 4) + chance.gauss(0, 3.5)
    rain = round(chance.expovariate(1 / 5), 1) if chance.random() < 0.4 else 0.0
    clouds = chance.randint(60, 100) if rain else chance.choice((0, chance.randint(1, 25), chance.randint(26, 70), chance.randint(71, 100)))
    swing = chance.uniform(3, 6) * (1.3 - clouds / 200)
    now = round(mean + chance.uniform(-0.8, 0.8) * swing, 1)
    wind, humidity = round(chance.gammavariate(2.5, 5.5), 1), chance.randint(35, 75) + (20 if rain else 0)
    dust = round(chance.gammavariate(2.2, 5), 1)
    return {
        "temperature_2m": now,
        "apparent_temperature": round(now - wind / 10 + (humidity - 55) / 20, 1),
        "relative_humidity_2m": humidity,
        "precipitation": round(rain / 8, 1),
        "weather_code": sky(rain, clouds, mean, chance),
        "cloud_cover": clouds,
        "pressure_msl": round(chance.gauss(1016 - 4 * bool(rain), 6), 1),
        "wind_speed_10m": wind,
        "wind_direction_10m": chance.randint(0, 359),
        "wind_gusts_10m": round(wind * chance.uniform(1.4, 2.2), 1),
        "temperature_2m_max": round(mean + swing, 1),
        "temperature_2m_min": round(mean - swing, 1),
        "precipitation_sum": rain,
        "precipitation_probability_max": chance.randint(45, 100) if rain else chance.randint(0, 35),
        "wind_speed_10m_max": round(wind * chance.uniform(1.1, 1.5), 1),
        "uv_index_max": round(max(0.3, (9 - abs(place.latitude - 15 * season) / 9) * (1.1 - clouds / 150)), 2),
        "european_aqi": round(15 + dust * 1.8),
        "us_aqi": round(20 + dust * 3.1),
        "pm10": round(dust * 1.6, 1),
        "pm2_5": dust,
        "ozone": chance.randint(25, 120),
        "nitrogen_dioxide": round(chance.gammavariate(2, 8), 1),
    }


def sky(rain: float, clouds: int, mean: float, chance: random.Random) -> int:
    """The WMO code that fits rain and clouds."""
    if rain and mean < 0:
        return 71 if rain < 4 else 73
    if rain:
        return chance.choice((51, 61)) if rain < 2.5 else chance.choice((61, 63, 80)) if rain < 8 else chance.choice((63, 65, 95))
    if clouds > 85 and chance.random() < 0.15:
        return 45
    return 0 if clouds < 12 else 1 if clouds < 35 else 2 if clouds < 75 else 3
