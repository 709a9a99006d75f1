"""The pieces of a scene about the weather: what is asked, where and when, calls with results, answers that state only those."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from src.build.weather_dialogues.climate import Place, respond
from src.build.weather_dialogues.scene import SEARCH, Call, Scene, places, table

_MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December")


@dataclass
class Draws:
    """Draws the pieces; `values` and `phrasing` are `unseen` where a test row keeps them new."""

    chance: random.Random
    tools: Sequence[str]
    """Tools that may be asked for."""
    values: str = "seen"
    phrasing: str = "seen"
    pointed: bool = False
    """Whether only scenes will do in which one of the tools matters."""

    def __post_init__(self) -> None:
        self.today = date(2026, 1, 1) + timedelta(self.chance.randint(0, 364))

    def topic(self, tool: str = "") -> dict[str, Any]:
        """Something to ask about."""
        wanted = (tool,) if tool else self.tools
        found: dict[str, Any] = self.chance.choice([topic for topic in table("topics") if topic["tool"] in wanted])
        return found

    def place(self) -> Place:
        """Somewhere."""
        return self.chance.choice(places(self.values))

    def some_places(self, count: int) -> list[Place]:
        """Several different ones."""
        return self.chance.sample(places(self.values), count)

    def day(self, iso: str = "") -> tuple[str, str]:
        """A day of the past: as the tool wants it, and as one says it."""
        day = date.fromisoformat(iso) if iso else date(1990, 1, 1) + timedelta(self.chance.randint(0, 13_000))
        month = _MONTHS[day.month - 1]
        said = self.chance.choice((f"{day.day} {month} {day.year}", f"{month} {day.day}, {day.year}", day.isoformat()))
        return day.isoformat(), said

    def ask(self, topic: dict[str, Any], place: str, said: str = "") -> tuple[str, dict[str, Any]]:
        """Word a request; return it with the arguments that it takes besides the coordinates."""
        day, spoken = self.day()
        count = self.chance.choice(list(table("talk")["numbers"]))
        arguments = dict(topic["arguments"])
        if topic["tool"] == "get_history":
            arguments = {"start_date": day, "end_date": day, **arguments}
        if topic.get("span"):
            arguments["forecast_days"] = count
        ask = self.chance.choice(topic["ask_unseen" if self.phrasing == "unseen" else "ask"])
        return self.worded(ask.format(place=place, date=said or spoken, days=table("talk")["numbers"][count])), arguments

    def worded(self, ask: str) -> str:
        """Put something before and behind a request."""
        before, after = (self.chance.choice(table("talk")[part][self.phrasing]) for part in ("before", "after"))
        if not before or before[-2] in ".!":
            ask = ask[0].upper() + ask[1:]
        return f"{before}{ask}{after}"

    def search(self, *found: Place, name: str = "") -> Call:
        """Look a place up; like the API, leave `results` out where there are none."""
        took = {"generationtime_ms": round(self.chance.uniform(0.1, 1.5), 4)}
        result = {"results": [place.found() for place in found], **took} if found else took
        return Call(SEARCH, {"name": found[0].name if found else name, "count": 5}, result)

    def asked(self, topic: dict[str, Any], arguments: dict[str, Any], place: Place) -> Call:
        """Ask a service about a place's coordinates."""
        whole = {"latitude": place.latitude, "longitude": place.longitude, **arguments}
        return Call(topic["tool"], whole, respond(topic["tool"], whole, place, self.today, self.chance))

    def failed(self, topic: dict[str, Any], arguments: dict[str, Any], place: Place) -> Call:
        """Ask a service that fails."""
        call = self.asked(topic, arguments, place)
        return Call(call.tool, call.arguments, {"error": True, "reason": self.chance.choice(table("talk")["faults"][self.values])})

    def tell(self, scene: Scene, topic: dict[str, Any], arguments: dict[str, Any], place: Place) -> None:
        """Look the place up, ask about it, answer."""
        scene.call(self.search(place))
        call = self.asked(topic, arguments, place)
        scene.call(call)
        scene.turns.append(self.told(topic, place.name, call))

    def told(self, topic: dict[str, Any], place: str, call: Call) -> str:
        """Word an answer of what the result holds."""
        return str(self.chance.choice(topic["answer"])).format(place=place, **facts(call.result, topic.get("day", 0)))


def facts(result: dict[str, Any], day: int) -> dict[str, str]:
    """What an answer may state: values with their units, of one day, and the lowest and highest of all; the sky in words."""
    found: dict[str, str] = {}
    for block in ("current", "daily"):
        for key, value in result.get(block, {}).items():
            unit = result[f"{block}_units"].get(key, "")
            values = value if isinstance(value, list) else [value]
            shown = values[min(day, len(values) - 1)]
            if key == "weather_code":
                found["sky"] = table("talk")["sky"][shown]
            elif key not in ("time", "interval"):
                for name, each in ((key, shown), (f"{key}_low", min(values)), (f"{key}_high", max(values))):
                    found[name] = f"{each} {unit}".strip()
    return found


def reason(call: Call) -> str:
    """Why a service failed, in its words."""
    return str(call.result["reason"]).rstrip(".")
