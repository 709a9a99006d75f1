"""Dialogues in which tools are called, made from a catalogue, with values, phrasings and a tool kept back for the test."""

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from src.build.catalogue import schema, table
from src.build.catalogue.everyday import everyday
from src.build.catalogue.scenario import Call, Scenario, Unseen
from src.build.catalogue.weather import weather
from src.core.config import Config
from src.core.errors import did_you_mean
from src.core.seeds import derive

Split = Literal["train", "validation", "test"]
Kind = Literal["call", "result", "none"]
TRIES = 200  # draws without a new row after which the catalogue counts as used up
SYLLABLES = ("ba", "dor", "fin", "gal", "hem", "jun", "kel", "lor", "mip", "nar", "pol", "quen", "rud", "sal", "tov", "wex", "yam", "zil")
UNSEEN: tuple[Unseen, ...] = ("values", "phrasing", "tool")


class ToolDialogues(Config):
    """Single requests to tools: the call, often the result and an answer, sometimes no call at all."""

    type: Literal["tools"] = "tools"
    rows: int = Field(2000, ge=0)
    """Dialogues for training."""
    validation: int = Field(60, ge=0)
    """Dialogues for validation: values and phrasings of training in combinations of their own."""
    test: int = Field(180, ge=0)
    """Dialogues for the test: a third with unseen values, a third with unseen phrasings, a third with the held-out tool."""
    tools: tuple[str, ...] = ("home", "travel", "shopping", "messages")
    """Tools of the catalogue or whole families of it: home, travel, shopping, messages, weather."""
    heldout_tool: str | None = None
    """The tool that only test rows show; without one the test has unseen values and phrasings only."""
    offered: int = Field(3, ge=1)
    """How many tools a dialogue offers at most."""
    no_tool: float = Field(0.15, ge=0, le=1)
    """Share of dialogues in which no tool applies: small talk, or a request to a tool that is not offered."""
    refused: float = Field(0.5, ge=0, le=1)
    """Share of those in which a tool is asked for that is not offered; the rest is small talk."""
    results: float = Field(0.3, ge=0, le=1)
    """Share of dialogues that go on to the tool's result and an answer that states only what stands there."""
    renamed: float = Field(0.0, ge=0, le=1)
    """Share of training dialogues whose tools bear made-up names, so that names are read from the list, not learned by heart."""
    system: str = "You are a helpful assistant."
    """The system message; empty for none."""
    voice: tuple[str, ...] = ("{answer}.",)
    """How an answer is worded; `{answer}` is the plain statement, in lower case and without a full stop."""

    @model_validator(mode="after")
    def tools_are_in_the_catalogue(self) -> Self:
        """Name what is unknown, and what would leave nothing to learn."""
        known = catalogue()
        names = {*known, *(tool["family"] for tool in known.values())}
        for name in self.tools:
            if name not in names:
                raise ValueError(f"no tool or family is called {name!r}{did_you_mean(name, names)}")
        if self.heldout_tool is not None and self.heldout_tool not in self.chosen():
            raise ValueError(f"heldout_tool: {self.heldout_tool!r} is not among the tools chosen")
        if not set(self.chosen()) - {self.heldout_tool}:
            raise ValueError("with the held-out tool taken away no tool is left to train on")
        if any("{answer}" not in template for template in self.voice) or not self.voice:
            raise ValueError("voice: every template needs {answer}")
        return self

    def chosen(self) -> list[str]:
        """Names of the tools, families spelled out, in the catalogue's order."""
        return [name for name, tool in catalogue().items() if {name, tool["family"]} & set(self.tools)]

    def examples(self, seed: int) -> Iterator[dict[str, Any]]:
        """Yield rows with `id`, `messages`, `tools`, `tags`, `sources` and `split`; no two are alike."""
        seen: set[str] = set()
        for split, count in (("train", self.rows), ("validation", self.validation), ("test", self.test)):
            made = Dialogues(self, split, random.Random(derive(seed, "tools", split)))
            for number, row in enumerate(islice(new_ones(made, seen), count)):
                yield {"id": f"tools:{split}:{number}", **row, "sources": [], "split": split}


@dataclass
class Dialogues:
    """An endless supply of one split's rows."""

    config: ToolDialogues
    split: str
    chance: random.Random
    made: int = 0

    def row(self) -> dict[str, Any]:
        """Make the next row: `messages`, `tools` and `tags`."""
        unseen, kind = self.next_unseen(), self.next_kind()
        self.made += 1
        if kind == "none":
            return self.without_call(unseen)
        scenario = self.scenario(unseen)
        calls = scenario.calls
        if kind == "call" and unseen != "tool":
            calls = calls[: self.chance.randint(1, len(calls))]
        messages = [*self.opening(scenario.ask), *self.exchange(calls)]
        if kind == "result":
            messages.append(self.answer(scenario.answer))
        else:
            messages.pop()  # it ends with the call, which is what is learned
        offered = self.offer([scenario.tool, *scenario.companions])
        return self.finished(messages, offered, scenario.tool, kind, unseen)

    def without_call(self, unseen: Unseen) -> dict[str, Any]:
        """Small talk, or a request to a tool that is not offered."""
        if self.chance.random() < self.config.refused and len(self.names()) > 1:
            scenario = self.scenario(unseen)
            ask, answer = scenario.ask, table("talk")["refuse"]
            away = {scenario.tool, *scenario.companions}
        else:
            talk = table("talk")["chat"]["unseen" if self.split == "test" else "seen"]
            ask, answer = self.chance.choice(talk)
            away, unseen = set(), "phrasing" if self.split == "test" else ""
        messages = [*self.opening(ask), self.answer(answer)]
        return self.finished(messages, self.offer([], away), "none", "none", unseen)

    def finished(self, messages: list[dict[str, Any]], offered: list[str], tool: str, kind: Kind, unseen: Unseen) -> dict[str, Any]:
        """Put the parts of a row together."""
        tags = [f"tool:{tool}", f"kind:{kind}", *([f"unseen:{unseen}"] if unseen else [])]
        tools = [schema(catalogue()[name]) for name in offered]
        if self.split == "train" and self.chance.random() < self.config.renamed:
            self.rename(tools, messages)
        return {"messages": messages, "tools": tools, "tags": tags}

    def rename(self, tools: list[dict[str, Any]], messages: list[dict[str, Any]]) -> None:
        """Give the tools made-up names, in the list and in the calls (function masking, Hammer, Lin et al. 2024)."""
        names = {tool["function"]["name"]: "_".join(self.chance.choices(SYLLABLES, k=2)) for tool in tools}
        called = [call for message in messages for call in message.get("tool_calls", ())]
        for function in (each["function"] for each in [*tools, *called]):
            function["name"] = names[function["name"]]

    def next_unseen(self) -> Unseen:
        """What the next row keeps new: nothing outside the test, else each thing in its turn."""
        if self.split != "test":
            return ""
        return UNSEEN[self.made % (3 if self.config.heldout_tool else 2)]

    def next_kind(self) -> Kind:
        """Draw what the next dialogue comes to."""
        luck = self.chance.random()
        if luck < self.config.no_tool:
            return "none"
        return "result" if luck < self.config.no_tool + self.config.results * (1 - self.config.no_tool) else "call"

    def names(self) -> list[str]:
        """Tools that the rows may show: the held-out one in the test only."""
        return [name for name in self.config.chosen() if self.split == "test" or name != self.config.heldout_tool]

    def scenario(self, unseen: Unseen) -> Scenario:
        """Draw a request; only rows about the unseen tool ask for it."""
        heldout = self.config.heldout_tool
        name = heldout if unseen == "tool" and heldout else self.chance.choice([n for n in self.names() if n != heldout])
        tool = catalogue()[name]
        return (weather if tool["family"] == "weather" else everyday)(tool, self.chance, unseen)

    def offer(self, needed: Sequence[str], away: Sequence[str] | set[str] = ()) -> list[str]:
        """The tools of a dialogue in mixed order: those needed and some others."""
        others = [name for name in self.names() if name not in {*needed, *away}]
        count = self.chance.randint(min(2, self.config.offered), self.config.offered) - len(needed)
        offered = [*needed, *self.chance.sample(others, min(len(others), max(0, count)))]
        self.chance.shuffle(offered)
        return offered

    def opening(self, ask: str) -> list[dict[str, Any]]:
        """The system message, where there is one, and the request."""
        system = [{"role": "system", "content": self.config.system}] if self.config.system else []
        return [*system, {"role": "user", "content": ask}]

    def exchange(self, calls: Sequence[Call]) -> Iterator[dict[str, Any]]:
        """Each call and its result."""
        for call in calls:
            name = f"call_{self.chance.getrandbits(32):08x}"
            function = {"name": call.tool, "arguments": call.arguments}
            yield {"role": "assistant", "content": None, "tool_calls": [{"id": name, "type": "function", "function": function}]}
            yield {"role": "tool", "tool_call_id": name, "content": json.dumps(call.result, ensure_ascii=False)}

    def answer(self, plain: str) -> dict[str, Any]:
        """The last word, in the project's voice."""
        text = self.chance.choice(self.config.voice).replace("{answer}", plain)
        return {"role": "assistant", "content": text[0].upper() + text[1:]}


def new_ones(made: Dialogues, seen: set[str]) -> Iterator[dict[str, Any]]:
    """Yield rows that no split has had yet, until the catalogue gives no new ones."""
    missed = 0
    while missed < TRIES:
        row = made.row()
        key = json.dumps([plain(message) for message in row["messages"]] + [tool["function"]["name"] for tool in row["tools"]])
        missed = missed + 1 if key in seen else 0
        if not missed:
            seen.add(key)
            yield row


def plain(message: dict[str, Any]) -> list[Any]:
    """A message without the names of its calls, which are random."""
    calls = [call["function"] for call in message.get("tool_calls", ())]
    return [message["role"], message["content"], calls]


def catalogue() -> dict[str, dict[str, Any]]:
    """All tools by name."""
    return {tool["name"]: tool for tool in [*table("everyday"), *table("weather")["tools"]]}
