"""Scenarios of everyday life: one request, one call, one answer, all from templates."""

import random
from typing import Any

from src.build.catalogue import table
from src.build.catalogue.scenario import Call, Scenario, Unseen

EVERY, KEPT_BACK = 5, 2  # numbers that leave this rest stand in test rows only


def everyday(tool: dict[str, Any], chance: random.Random, unseen: Unseen = "") -> Scenario:
    """Draw a request to `tool` with its call and answer."""
    arguments = draw_arguments(tool, chance, unseen)
    ask = chance.choice(tool["ask_unseen" if unseen == "phrasing" else "ask"]).format(**arguments)
    result = {key: draw_result(value, arguments, chance) for key, value in tool["result"].items()}
    call = Call(tool["name"], arguments, result)
    return Scenario(tool["name"], ask, (call,), tool["answer"].format(**result))


def draw_arguments(tool: dict[str, Any], chance: random.Random, unseen: Unseen) -> dict[str, Any]:
    """A value for every parameter; no two of them alike."""
    arguments: dict[str, Any] = {}
    for name, schema in tool["parameters"].items():
        choice = schema.get("enum") or choices(tool["values"][name], unseen)
        arguments[name] = chance.choice([value for value in choice if value not in arguments.values()])
    return arguments


def choices(values: str | list[int], unseen: Unseen) -> list[Any]:
    """The values of a pool or range that training shows or, for unseen values, those that it never does."""
    if isinstance(values, str):
        return list(table("values")[values]["unseen" if unseen == "values" else "seen"])
    lowest, highest = values
    return [number for number in range(lowest, highest + 1) if (number % EVERY == KEPT_BACK) == (unseen == "values")]


def draw_result(value: Any, arguments: dict[str, Any], chance: random.Random) -> Any:
    """An argument said back (`{name}`), or a number of a range."""
    if isinstance(value, list):
        return chance.randint(*value)
    return arguments[value.strip("{}")]
