"""Dialogues about the weather: one tool, several in a row or at once, questions back, errors, and answers that state only results."""

import json
import random
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from src.build.tags import Key
from src.build.weather_dialogues.play import Play
from src.build.weather_dialogues.scene import KINDS, SEARCH, Call, Kind, Scene, tools
from src.core.config import Config
from src.core.errors import did_you_mean
from src.core.seeds import derive

TRIES = 200  # draws without a new row after which nothing new is expected
SHARES: dict[Kind, float] = {"single": 0.15, "multi_step": 0.3, "parallel": 0.2, "ask_back": 0.15, "error": 0.1, "none": 0.1}
ASKED = ("get_forecast", "get_history", "get_air_quality")


class WeatherDialogues(Config):
    """Dialogues with the Open-Meteo tools, made up from real places and drawn but coherent weather."""

    type: Literal["weather"] = "weather"
    rows: int = Field(2000, ge=0)
    """Dialogues for training."""
    validation: int = Field(60, ge=0)
    """Dialogues for validation: places and phrasings of training in combinations of their own."""
    test: int = Field(180, ge=0)
    """Dialogues for the test: with unseen places, with unseen phrasings and, where a tool is held out, with that one, in turn."""
    kinds: dict[Kind, float] = Field(default_factory=lambda: dict(SHARES))
    """Weights of the kinds: one call; calls in a row; calls at once; a question back for what is missing; an error; no call at all."""
    tools: tuple[str, ...] = ASKED
    """What may be asked for besides places: get_forecast, get_history, get_air_quality."""
    heldout_tool: str | None = None
    """The one of them that only test rows show."""
    system: str = "You are a helpful assistant."
    """The system message; empty for none."""
    voice: tuple[str, ...] = ("{answer}.",)
    """How an answer is worded; {answer} is the plain statement, in lower case, without a full stop. Digits would state no result."""
    name: str | None = None
    """What the mix and the card call this source; its type where nothing is said."""
    licence: str | None = "generated; tools and error texts after Open-Meteo (CC BY 4.0), places after GeoNames (CC BY 4.0)"
    """Under which terms the rows may be used; the card counts them."""
    tags: dict[Key, str] = Field(default_factory=dict)
    """Tags of every row, such as {persona: twain}."""

    @model_validator(mode="after")
    def can_be_made(self) -> Self:
        """Name what is unknown, and what would leave nothing to learn."""
        for name in self.tools:
            if name not in ASKED:
                raise ValueError(f"no tool is called {name!r}{did_you_mean(name, ASKED)}")
        if self.heldout_tool is not None and self.heldout_tool not in self.tools:
            raise ValueError(f"heldout_tool: {self.heldout_tool!r} is not among the tools chosen")
        if not set(self.tools) - {self.heldout_tool}:
            raise ValueError("with the held-out tool taken away no tool is left to train on")
        if not any(weight > 0 for weight in self.kinds.values()) or any(weight < 0 for weight in self.kinds.values()):
            raise ValueError("kinds: needs a weight above 0, and none below")
        for template in self.voice or ("",):
            if "{answer}" not in template:
                raise ValueError("voice: every template needs {answer}")
            if any(letter.isdigit() for letter in template):
                raise ValueError(f"voice: {template!r} states a number that is in no result")
        return self

    def examples(self, seed: int) -> Iterator[dict[str, Any]]:
        """Yield rows with `id`, `messages`, `tools`, `tags`, `sources` and `split`; no two are alike."""
        seen: set[str] = set()
        for split, count in (("train", self.rows), ("validation", self.validation), ("test", self.test)):
            chance = random.Random(derive(seed, "weather", split))
            for number, row in enumerate(islice(self._new(split, chance, seen), count)):
                yield {"id": f"weather:{split}:{number}", **row, "sources": [], "split": split}

    def _new(self, split: str, chance: random.Random, seen: set[str]) -> Iterator[dict[str, Any]]:
        """Yield rows whose requests no split has had yet, until none come any more."""
        missed = number = 0
        while missed < TRIES:
            row = self._row(split, number, chance)
            number += 1
            told = [message["content"] for message in row["messages"] if message["role"] in ("user", "assistant")]
            key = json.dumps([told, sorted(tool["function"]["name"] for tool in row["tools"])] if "kind:none" in row["tags"] else told)
            missed = missed + 1 if key in seen else 0
            if not missed:
                seen.add(key)
                yield row

    def _row(self, split: str, number: int, chance: random.Random) -> dict[str, Any]:
        """Make a row: `messages`, `tools` and `tags`."""
        new = (
            ("values", "phrasing", *(["tool"] if self.heldout_tool else []))[number % (3 if self.heldout_tool else 2)]
            if split == "test"
            else ""
        )
        kinds = [kind for kind in KINDS if self.kinds.get(kind, 0) > 0]
        kind = chance.choices(kinds, [self.kinds[kind] for kind in kinds])[0]
        shown = [tool for tool in self.tools if tool != self.heldout_tool]
        play = Play(
            chance,
            [str(self.heldout_tool)] if new == "tool" else shown,
            values="unseen" if new == "values" else "seen",
            phrasing="unseen" if new == "phrasing" else "seen",
            pointed=new == "tool",
        )
        scene = play.scene(kind)
        offered = self._offered(scene, [*shown, *([str(self.heldout_tool)] if new == "tool" else [])], chance)
        called = sorted({call.tool for calls in scene.turns if isinstance(calls, tuple) for call in calls} - {SEARCH})
        tags = [
            f"tool:{called[0] if len(called) == 1 else 'several' if called else SEARCH if scene.needed else 'none'}",
            f"kind:{scene.kind}",
        ]
        tags += [*([f"unseen:{new}"] if new else []), *(f"{key}:{value}" for key, value in self.tags.items())]
        return {"messages": self._messages(scene, chance), "tools": [tools()[name] for name in offered], "tags": tags}

    def _offered(self, scene: Scene, names: Sequence[str], chance: random.Random) -> list[str]:
        """The tools of a dialogue in mixed order: the search, those needed, and often the others."""
        others = [name for name in names if name not in scene.needed | scene.away]
        offered = [*({SEARCH} | scene.needed), *(name for name in others if chance.random() < 0.7)]
        offered.sort()
        chance.shuffle(offered)
        return offered

    def _messages(self, scene: Scene, chance: random.Random) -> list[dict[str, Any]]:
        messages: list[dict[str, Any]] = [{"role": "system", "content": self.system}] if self.system else []
        spoken = 0
        for turn in scene.turns:
            if isinstance(turn, str):
                text = turn if spoken % 2 == 0 else self._voiced(turn, chance)
                messages.append({"role": "assistant" if spoken % 2 else "user", "content": text})
                spoken += 1
            else:
                messages += exchange(turn, chance)
        return messages

    def _voiced(self, plain: str, chance: random.Random) -> str:
        """An answer in the project's voice; a question back is asked as it is."""
        text = plain if plain.endswith("?") else chance.choice(self.voice).replace("{answer}", plain)
        return text[0].upper() + text[1:]


def exchange(calls: Sequence[Call], chance: random.Random) -> Iterator[dict[str, Any]]:
    """Calls in one message, and their results in its order."""
    names = [f"call_{chance.getrandbits(32):08x}" for _ in calls]
    made = [
        {"id": name, "type": "function", "function": {"name": call.tool, "arguments": call.arguments}}
        for name, call in zip(names, calls, strict=True)
    ]
    yield {"role": "assistant", "content": None, "tool_calls": made}
    for name, call in zip(names, calls, strict=True):
        yield {"role": "tool", "tool_call_id": name, "content": json.dumps(call.result, ensure_ascii=False)}
