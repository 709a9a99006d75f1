"""What happens in a dialogue about the weather, turn by turn, before it is put into messages."""

from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any, Literal

import yaml

from src.build.weather_dialogues.climate import Place

Kind = Literal["single", "multi_step", "parallel", "ask_back", "error", "none"]
KINDS: tuple[Kind, ...] = ("single", "multi_step", "parallel", "ask_back", "error", "none")
SEARCH = "search_place"


@dataclass(frozen=True, slots=True)
class Call:
    """One tool called, and what it gave back."""

    tool: str
    arguments: dict[str, Any]
    result: dict[str, Any]


@dataclass
class Scene:
    """User's words, calls (several at once where they are parallel) and answers, in order."""

    kind: Kind
    turns: list[str | tuple[Call, ...]] = field(default_factory=list)
    """Texts are the user's and the assistant's, who take turns beginning with the user; calls stand between."""
    needed: set[str] = field(default_factory=set)
    """Tools that have to be offered."""
    away: set[str] = field(default_factory=set)
    """Tools that must not be."""

    def call(self, *calls: Call) -> None:
        """Let the assistant call tools, all at once."""
        self.turns.append(calls)
        self.needed |= {call.tool for call in calls}


@cache
def table(name: str) -> Any:
    """Read one of the YAML tables beside this file."""
    return yaml.safe_load((files(__package__) / f"{name}.yaml").read_text(encoding="utf-8"))


@cache
def tools() -> dict[str, dict[str, Any]]:
    """The tools by name, as OpenAI function tools."""
    made = {}
    for tool in table("tools"):
        parameters = {"type": "object", "properties": tool["parameters"], "required": tool["required"], "additionalProperties": False}
        function = {"name": tool["name"], "description": tool["description"].strip(), "parameters": parameters}
        made[tool["name"]] = {"type": "function", "function": function}
    return made


def places(part: str) -> list[Place]:
    """The places that training shows (`seen`), or those it never does (`unseen`)."""
    return [Place(*row) for row in table("places")[part]]


def twins(part: str) -> list[tuple[Place, Place]]:
    """Pairs of places of one name."""
    return [(Place(*one), Place(*other)) for one, other in table("places")["twins"][part]]
