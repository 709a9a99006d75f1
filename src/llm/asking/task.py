"""What is asked about each text, and what counts as an answer to it."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from src.llm.asking.json_answer import checker, value_of
from src.llm.asking.verdict import Unusable, fold, verdict

Form = Mapping[str, Any]
"""A JSON Schema."""


@dataclass(frozen=True)
class Answer:
    """A usable answer."""

    value: Any
    """A class, or a JSON object."""
    vote: str
    """What makes two answers the same."""


_AS_WORD = "Answer with the name of one class and nothing else."
_AS_JSON = 'Answer with JSON and nothing else: {"label": name of one class}.'


def _as_it_is(text: str) -> str:
    return text


@dataclass(frozen=True)
class Task:
    """One task for all texts."""

    about: str
    """What the model is told of it."""
    ending: str
    """How it is to answer where one text is asked about."""
    shots: Sequence[tuple[str, str]]
    """Texts with the answers they should have."""
    read: Callable[[str], Answer]
    """Makes an answer of the model's words, or fails with `Unusable`."""
    value: Form
    """Form of an answer inside JSON."""
    form: Form | None = None
    """Form that a server is asked to hold an answer to; None for plain words."""
    frame: Callable[[str], str] = _as_it_is
    """What is put around a text."""


def classes_task(classes: Mapping[str, str], instructions: str, shots: Sequence[tuple[str, str]], *, structured: bool) -> Task:
    """Choose one of the classes, each named with what it stands for."""
    names = {fold(name): name for name in classes}
    lines = [f"- {name}: {' '.join(what.split())}" if what else f"- {name}" for name, what in classes.items()]
    value = {"type": "string", "enum": list(classes)}
    form = {"type": "object", "properties": {"label": value}, "required": ["label"], "additionalProperties": False}

    def read(said: str) -> Answer:
        name = verdict(said, names)
        if name is None:
            raise Unusable("it is not the name of one of the classes and nothing else")
        return Answer(name, name)

    return Task(
        about="\n".join([instructions.strip(), "", *lines]),
        ending='Answer with JSON: {"label": the name of one class}.'
        if structured
        else "Answer with the name of one class and nothing else.",
        shots=[(text, json.dumps({"label": label}, ensure_ascii=False) if structured else label) for text, label in shots],
        read=read,
        value=value,
        form=form if structured else None,
    )


def schema_task(
    schema: Form,
    instructions: str,
    shots: Sequence[tuple[str, str]],
    *,
    structured: bool,
    check: Callable[[Any], None] | None = None,
    frame: Callable[[str], str] = _as_it_is,
) -> Task:
    """Answer with a JSON value of a form; `check` raises `Unusable` where a value of the form will not do."""
    fits = checker(schema)

    def read(said: str) -> Answer:
        value = value_of(said)
        fits(value)
        if check:
            check(value)
        label = value.get("label") if isinstance(value, dict) else None
        return Answer(value, label if isinstance(label, str) else json.dumps(value, sort_keys=True, ensure_ascii=False))

    shown = json.dumps(schema, ensure_ascii=False)
    return Task(
        about=instructions.strip(),
        ending=f"Answer with JSON of this JSON Schema and nothing else:\n{shown}",
        shots=shots,
        read=read,
        value=schema,
        form=schema if structured else None,
        frame=frame,
    )
