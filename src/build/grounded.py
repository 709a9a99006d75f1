"""Whether an answer stands on the results it follows: every number and every unit in it is in a result."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from src.text import claims


def ungrounded(messages: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the numbers and units of answers after a result which are in no result and were said by no user before."""
    known: set[float] = set()
    units: set[str] = set()
    has_result = False
    missing: list[str] = []
    for message in messages:
        text = message.get("content") or ""
        if message["role"] == "assistant" and has_result:
            missing += [found for found in claims.numbers(text) if not {claims.value(found), abs(claims.value(found))} & known]
            missing += [found for found in claims.units(text) if found not in units]
        elif message["role"] in ("tool", "user"):
            known |= {claims.value(found) for found in [*claims.numbers(_plain(text)), *claims.digits(text)]}
            units |= set(claims.units(text))
            if message["role"] == "tool":
                has_result = True
                units |= set(_units(text))
    return missing


def _plain(text: str) -> str:
    """Quotes of JSON would glue numbers to letters."""
    return text.replace('"', " ")


def _units(text: str) -> list[str]:
    try:
        found = json.loads(text)
    except ValueError:
        return []
    blocks = [each for key, each in found.items() if key.endswith("units")] if isinstance(found, dict) else []
    return [str(unit) for block in blocks if isinstance(block, dict) for unit in block.values()]
