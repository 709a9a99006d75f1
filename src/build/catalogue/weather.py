"""Scenarios after the Open-Meteo APIs: a place is looked up, then its coordinates are asked about."""

import random
from collections.abc import Iterator
from typing import Any

from src.build.catalogue import table
from src.build.catalogue.scenario import Call, Scenario, Unseen

SEARCH = "search_place"
MISSING, FAULTY = 0.06, 0.04  # shares of scenarios in which the place is not found, or the service fails
DAY = "2026-09-{:02d}"
PLACE_KEYS = ("name", "latitude", "longitude", "elevation", "country", "country_code", "timezone")
UNIT_KEYS = {"°C": "temperature_unit", "km/h": "wind_speed_unit", "mm": "precipitation_unit"}
PLACE_ANSWERS = {
    "Where is {place}?": "{name} lies in {country} at {latitude}, {longitude}",
    "Which country is {place} in?": "{name} is in {country}",
    "Give me the coordinates of {place}.": "{name} lies at {latitude}, {longitude}",
    "What is the time zone of {place}?": "{name} keeps the time of {timezone}",
}


def weather(tool: dict[str, Any], chance: random.Random, unseen: Unseen = "") -> Scenario:
    """Draw a request that `tool` answers, with the calls it takes."""
    if tool["name"] == SEARCH:
        ask = chance.choice(asks(tool, unseen))
        answer = PLACE_ANSWERS.get(ask, "{name} lies in {country} at {latitude}, {longitude}")
        return looked_up(ask, answer, place(chance, unseen), chance)
    question = chance.choice([each for each in table("weather")["questions"] if each["tool"] == tool["name"]])
    ask = chance.choice(asks(question, unseen))
    if chance.random() < MISSING:
        return not_found(ask, tool["name"], chance, unseen)
    return asked_about(ask, question, place(chance, unseen), chance, unseen)


def asks(source: dict[str, Any], unseen: Unseen) -> list[str]:
    """The phrasings that training shows, or those that it never does."""
    return list(source["ask_unseen" if unseen == "phrasing" else "ask"])


def place(chance: random.Random, unseen: Unseen) -> dict[str, Any]:
    """A real place as the geocoding API describes it."""
    listed = table("weather")["places"]["unseen" if unseen == "values" else "seen"]
    return dict(zip(PLACE_KEYS, chance.choice(listed), strict=True))


def search(name: str, found: list[dict[str, Any]], chance: random.Random) -> Call:
    """Look a place up; like the API, leave `results` out where there are none."""
    took = round(chance.uniform(0.1, 1.5), 4)
    result = {"results": found, "generationtime_ms": took} if found else {"generationtime_ms": took}
    return Call(SEARCH, {"name": name, "count": 1}, result)


def looked_up(ask: str, answer: str, where: dict[str, Any], chance: random.Random) -> Scenario:
    """A request that the place's own data answers."""
    call = search(where["name"], [where], chance)
    return Scenario(SEARCH, ask.format(place=where["name"]), (call,), answer.format(**where))


def not_found(ask: str, tool: str, chance: random.Random, unseen: Unseen) -> Scenario:
    """A request about a place that does not exist: there are no coordinates to go on with."""
    name = chance.choice(table("weather")["nowhere"]["unseen" if unseen == "values" else "seen"])
    call = search(name, [], chance)
    return Scenario(tool, ask.format(place=name), (call,), "no place of that name was found", (SEARCH,))


def asked_about(ask: str, question: dict[str, Any], where: dict[str, Any], chance: random.Random, unseen: Unseen) -> Scenario:
    """Look the place up, pass its coordinates on, and answer from what comes back."""
    name = where["name"]
    arguments = {"latitude": where["latitude"], "longitude": where["longitude"], **question["arguments"]}
    if chance.random() < FAULTY:
        reason = chance.choice(table("weather")["faults"]["unseen" if unseen == "values" else "seen"])
        result: dict[str, Any] = {"error": True, "reason": reason}
        answer = f"the weather service could not answer: {reason.rstrip('.')}"
    else:
        result = respond(question["tool"], arguments, where, chance)
        answer = question["answer"].format(place=name, **facts(result))
    calls = (search(name, [where], chance), Call(question["tool"], arguments, result))
    return Scenario(question["tool"], ask.format(place=name), calls, answer, (SEARCH,))


def respond(tool: str, arguments: dict[str, Any], where: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    """A result in the shape of the API's own, with drawn values."""
    if tool == "get_elevation":
        return {"elevation": [where["elevation"]]}
    # the API answers for the nearest cell of its grid, not for the point itself
    head = {"latitude": round(where["latitude"] * 16) / 16, "longitude": round(where["longitude"] * 16) / 16}
    zone = where["timezone"] if arguments.get("timezone") == "auto" else "GMT"
    result: dict[str, Any] = {**head, "timezone": zone, "elevation": where["elevation"]}
    day = chance.randint(1, 28)
    if current := arguments.get("current"):
        units, values = measured(current, arguments, chance)
        result["current_units"] = {"time": "iso8601", **units}
        result["current"] = {"time": f"{DAY.format(day)}T{chance.randint(6, 20):02d}:00", **values}
    if daily := arguments.get("daily"):
        days = [measured(daily, arguments, chance) for _ in range(arguments["forecast_days"])]
        result["daily_units"] = {"time": "iso8601", **days[0][0]}
        dates = [DAY.format(day + offset) for offset in range(len(days))]
        result["daily"] = {"time": dates, **{key: [values[key] for _, values in days] for key in daily}}
    return result


def measured(names: list[str], arguments: dict[str, Any], chance: random.Random) -> tuple[dict[str, str], dict[str, float | int]]:
    """Draw each variable in the unit that was asked for; return units and values."""
    units: dict[str, str] = {}
    values: dict[str, float | int] = {}
    for name in names:
        low, high, decimals, unit = table("weather")["variables"][name]
        wanted = arguments.get(UNIT_KEYS.get(unit, ""), "")
        factor, offset, decimals, unit = table("weather")["units"].get(wanted, (1, 0, decimals, unit))
        value = chance.choice(list(table("weather")["sky"])) if name == "weather_code" else chance.uniform(low, high)
        units[name] = unit
        values[name] = round(value * factor + offset, decimals or None)
    return units, values


def facts(result: dict[str, Any]) -> dict[str, Any]:
    """What an answer may state: values and units by name, tomorrow's beside today's, and the sky in words."""
    height = result.get("elevation")
    return {"elevation": height[0] if isinstance(height, list) else height, **dict(read_out(result))}


def read_out(result: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the measured values of a result."""
    for block in ("current", "daily"):
        for key, value in result.get(block, {}).items():
            today, *later = value if isinstance(value, list) else [value]
            yield key, today
            yield f"{key}_unit", result[f"{block}_units"].get(key, "")
            yield from ((f"{key}_tomorrow", tomorrow) for tomorrow in later[:1])
            if key == "weather_code":
                yield "sky", table("weather")["sky"][today]
