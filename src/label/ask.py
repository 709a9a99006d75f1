"""From a section's settings to the questions it stands for."""

import json
from typing import TYPE_CHECKING, Any

import yaml

from src.core.config import essence
from src.core.errors import MlxError
from src.llm.asking.answers import Answers
from src.llm.asking.questions import Questions
from src.llm.asking.standing import Standing
from src.llm.asking.task import Task, classes_task, schema_task

if TYPE_CHECKING:
    from src.label import LabelConfig

CACHE = "answers.sqlite"
_CLASSES = "Which of these classes does the user's text belong to?"
_SCHEMA = "Tell of the user's text what the JSON Schema below asks for."


def task_of(config: "LabelConfig", seed: int) -> Task:
    """What is asked about each text."""
    if config.synthesis:
        return config.synthesis.task(config.instructions, seed=seed)
    instructions, examples = _prompt(config)
    shots = [(text, each if isinstance(each, str) else json.dumps(each, ensure_ascii=False)) for text, each in examples]
    if config.classes is not None:
        return classes_task(config.classes, instructions or _CLASSES, shots, structured=bool(config.structured))
    return schema_task(config.json_schema or {}, instructions or _SCHEMA, shots, structured=config.structured is not False)


def _prompt(config: "LabelConfig") -> tuple[str | None, list[tuple[str, Any]]]:
    """Instructions and examples, those of a prompt file before the section's own."""
    own = [(each.text, each.label) for each in config.examples]
    if config.prompt is None:
        return config.instructions, own
    try:
        found = yaml.safe_load(config.prompt.read_text(encoding="utf-8"))
        examples = [(each["text"], each["label"]) for each in found.get("examples", ())]
    except (OSError, yaml.YAMLError, AttributeError, TypeError, KeyError) as error:
        raise MlxError(f"{config.prompt} is no prompt: {error}", "it holds `instructions`, and `examples` with text and label") from None
    for _, answer in examples if config.classes is not None else ():
        if answer not in (config.classes or {}):
            raise MlxError(f"{config.prompt}: {answer!r} is no class", f"choose from {', '.join(config.classes or {})}")
    return found.get("instructions") or config.instructions, examples or own


def questions_of(config: "LabelConfig", task: Task) -> Questions:
    """How the texts are put to the model."""
    longest = config.synthesis.passage if config.synthesis else config.max_chars
    return Questions(
        asked=essence(config.backend),
        task=task,
        max_chars=longest,
        max_tokens=config.max_tokens or (32 if config.classes is not None else 1024),
        temperature=config.temperature,
    )


def standing_of(config: "LabelConfig", answers: Answers, *, seed: int) -> Standing:
    """Where texts stand."""
    questions = questions_of(config, task_of(config, seed))
    return Standing(questions, answers, model=config.backend.name, batch=config.batch, votes=config.votes, repair=config.repair)
