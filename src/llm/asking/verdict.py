"""Read a model's answer as one of the classes, or as none."""

import json
from collections.abc import Mapping
from typing import Any

_EDGES = " \t\r\n\"'`“”„‘’«»*_.,:;!?()[]<>"


class Unusable(Exception):  # noqa: N818 (names an answer, caught at once)
    """An answer that cannot be used; its words tell the model why."""


def fold(text: str) -> str:
    """Take case, quotes, emphasis and punctuation off the ends, for names and answers alike."""
    return text.strip(_EDGES).casefold()


def verdict(answer: str, names: Mapping[str, str]) -> str | None:
    """The class that the whole answer names, as a word or as JSON with `label`; None where it says anything else.

    A class that is merely mentioned does not count: "not positive" mentions one too.

    Args:
        answer: What the model said.
        names: Class names by their folded spelling.
    """
    said: Any = answer.strip()
    if said.startswith("{"):
        try:
            said = json.loads(said)
        except (ValueError, RecursionError):
            return None
        said = said.get("label") if isinstance(said, dict) else None
    return names.get(fold(said)) if isinstance(said, str) else None
