"""Make examples to learn from out of passages: the instruction that a passage answers, or a dialogue about it."""

import json
import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field

from src.core.config import Config
from src.core.records import Example, Record
from src.core.seeds import derive
from src.llm.asking.task import Task, schema_task
from src.llm.asking.verdict import Unusable

EXAMPLES = "synthesis.jsonl"
_COPIED = 8  # words in a row that an instruction may not have from its passage


class Backtranslation(Config):
    """Lets the model write the instruction to which a passage is the answer (back-translation: Li et al. 2023, arXiv 2308.06259)."""

    type: Literal["instructions"] = "instructions"
    """Write the instruction to which a passage is the answer."""
    passage: int = Field(default=1500, ge=200)
    """Characters of a passage at most; longer rows are cut at paragraphs, or sentences."""
    min_score: int = Field(default=4, ge=1, le=5)
    """Pairs that the model itself rates lower, from 1 to 5, are dropped."""

    def task(self, instructions: str | None, *, seed: int) -> Task:
        """What is asked."""
        about = instructions or (
            "The user sends a passage. Write the instruction or question that somebody might have typed to get this passage as the "
            "answer: in their own words, understandable without the passage, without quoting it and without speaking of 'the passage' or "
            "'the text'. Then rate from 1 to 5 how well the passage answers it: 5 is complete, correct and to the point."
        )
        score = {"type": "integer", "enum": [1, 2, 3, 4, 5]}
        return schema_task(_object(instruction=_TEXT, score=score), about, (), structured=True, check=self._check)

    def _check(self, value: Any) -> None:
        if not value["instruction"].strip():
            raise Unusable("the instruction is empty")

    def example(self, record: Record, value: Any, *, seed: int) -> Example | tuple[str, str]:
        """The example of a passage, or the reason why there is none with what about it."""
        instruction = value["instruction"].strip()
        if value["score"] < self.min_score:
            return "low_score", f"{value['score']} for {instruction[:120]!r}"
        if copied := _copied(instruction, record.text):
            return "copies_passage", f"{copied!r}"
        turns = [{"role": "user", "content": instruction}, {"role": "assistant", "content": record.text}]
        return _example(record, "instruction", turns, [])


class Dialogues(Config):
    """Lets the model write a dialogue about a passage, between a person of yours and an assistant."""

    type: Literal["dialogues"] = "dialogues"
    """Write a dialogue about a passage."""
    personas: Annotated[dict[str, str], Field(min_length=1)]
    """Who asks: names with a description of each; one is drawn for each passage."""
    assistant: str = "a helpful assistant who knows what the passage says, and says nothing that goes against it"
    """Who answers."""
    turns: int = Field(default=2, ge=1, le=10)
    """Questions in a dialogue, each with its answer."""
    passage: int = Field(default=1500, ge=200)
    """Characters of a passage at most; longer rows are cut at paragraphs, or sentences."""

    def task(self, instructions: str | None, *, seed: int) -> Task:
        """What is asked."""
        about = instructions or (
            "The user sends a person and a passage. Write a dialogue in which that person, who has not read the passage, talks with "
            f"{self.assistant}. The person begins and the assistant has the last word. Both sound like people, each turn builds on the one "
            "before, and nobody speaks of 'the passage' or 'the text'."
        )
        turn = _object(role={"type": "string", "enum": ["user", "assistant"]}, content=_TEXT)
        about += f" Write {2 * self.turns} turns."
        form = _object(messages={"type": "array", "items": turn})
        return schema_task(form, about, (), structured=True, check=self._check, frame=lambda text: self._framed(text, seed))

    def persona(self, text: str, seed: int) -> str:
        """Who asks about a passage."""
        return sorted(self.personas)[derive(seed, "persona", text) % len(self.personas)]

    def _framed(self, text: str, seed: int) -> str:
        name = self.persona(text, seed)
        return json.dumps({"person": f"{name}: {self.personas[name]}", "passage": text}, ensure_ascii=False)

    def _check(self, value: Any) -> None:
        turns = value["messages"]
        if len(turns) != 2 * self.turns:
            raise Unusable(f"it has {len(turns)} turns, not {2 * self.turns}")
        if any(turn["role"] != ("assistant" if number % 2 else "user") for number, turn in enumerate(turns)):
            raise Unusable("user and assistant do not take turns")
        if not all(turn["content"].strip() for turn in turns):
            raise Unusable("a turn is empty")

    def example(self, record: Record, value: Any, *, seed: int) -> Example | tuple[str, str]:
        """The example of a passage."""
        turns = [{"role": turn["role"], "content": turn["content"].strip()} for turn in value["messages"]]
        return _example(record, "dialogue", turns, [f"persona:{self.persona(record.text, seed)}"])


Synthesis = Annotated[Backtranslation | Dialogues, Field(discriminator="type")]
"""What is made of passages."""

_WORD = re.compile(r"[^\W_]+")
_TEXT = {"type": "string"}


def _object(**keys: Any) -> dict[str, Any]:
    return {"type": "object", "properties": keys, "required": list(keys), "additionalProperties": False}


def _example(record: Record, kind: str, turns: list[dict[str, Any]], tags: list[str]) -> Example:
    source = str(record.meta.get("cut_from", record.id))
    made: dict[str, Any] = {"id": f"{record.id}#{kind}", "messages": turns, "tools": [], "label": None}
    made |= {"tags": [f"synthesis:{kind}", *tags], "sources": [source], "source": str(record.meta.get("source") or source)}
    return made  # type: ignore[return-value]


def _copied(instruction: str, passage: str) -> str:
    """Words in a row that an instruction has from its passage, if there are enough of them to be a copy."""
    words = _WORD.findall(instruction.casefold())
    held = f" {' '.join(_WORD.findall(passage.casefold()))} "
    runs = (" ".join(words[start : start + _COPIED]) for start in range(len(words) - _COPIED + 1))
    return next((run for run in runs if f" {run} " in held), "")


def passages(record: Record, longest: int) -> Iterator[Record]:
    """Cut a record into passages: whole paragraphs as far as they go in, else sentences, else words; one that fits stays as it is."""
    if len(record.text) <= longest:
        yield record
        return
    for number, text in enumerate(_packed(record.text, longest), start=1):
        yield Record(f"{record.id}#{number}", text, {**record.meta, "cut_from": record.id})


def _packed(text: str, longest: int) -> Iterator[str]:
    held = ""
    for joint, piece in _pieces(text, longest):
        if held and len(held) + len(joint) + len(piece) > longest:
            yield held
            held = piece
        else:
            held = f"{held}{joint}{piece}" if held else piece
    if held:
        yield held


def _pieces(text: str, longest: int) -> Iterator[tuple[str, str]]:
    """Paragraphs, or what is small enough of them, each with what joins it to the one before."""
    for paragraph in re.split(r"\n\s*\n", text):
        whole = paragraph.strip()
        if not whole:
            continue
        if len(whole) <= longest:
            yield "\n\n", whole
            continue
        joint = "\n\n"
        for sentence in re.split(r"(?<=[.!?…。！？])\s+", whole):
            for start in range(0, len(sentence), longest):
                yield joint, sentence[start : start + longest]
                joint = " "
