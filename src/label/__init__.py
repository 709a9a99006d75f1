"""Let a language model put each record into one of your classes."""

from collections import Counter
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from src.core.config import Config, Cosmetic, essence
from src.core.errors import did_you_mean
from src.core.run import Run
from src.core.stage import StageConfig, stage
from src.label.verdict import fold
from src.llm.backend import Backend

CACHE = "answers.sqlite"


def described(value: Any) -> Any:
    """Let a list of names stand for classes without a description."""
    if isinstance(value, list | tuple) and all(isinstance(each, str) for each in value):
        if len(set(value)) < len(value):
            raise ValueError("names a class twice")
        return dict.fromkeys(value, "")
    return value


def told_apart(classes: dict[str, str]) -> dict[str, str]:
    """Fail on classes that an answer cannot choose between."""
    if len(classes) < 2:
        raise ValueError("needs two classes at least")
    folded = Counter(fold(name) for name in classes)
    if alike := [name for name in classes if folded[fold(name)] > 1 or not fold(name)]:
        raise ValueError(f"classes that differ in case or punctuation only, or hold nothing else: {', '.join(map(repr, alike))}")
    return classes


class LabelledText(Config):
    """A text shown to the model with the answer it should have."""

    text: str
    """The text."""
    label: str
    """Its class."""


class LabelConfig(StageConfig):
    """Who labels, with which classes, and what it is told."""

    backend: Backend
    """The model that is asked: `type: openai`, `ollama` or `scripted`."""
    classes: Annotated[
        dict[str, str], BeforeValidator(described, json_schema_input_type=tuple[str, ...] | dict[str, str]), AfterValidator(told_apart)
    ]
    """Names of the classes, or a mapping of each name to what it stands for."""
    instructions: str = "Which of these classes does the user's text belong to?"
    """What the model is told about the task."""
    examples: tuple[LabelledText, ...] = ()
    """Texts with their classes, shown to the model before each row."""
    max_tokens: int = Field(default=32, ge=1)
    """Longest answer; a model that thinks aloud before it answers needs more."""
    temperature: float | None = Field(default=0, ge=0)
    """0 for the likeliest answer; null for models that let none be set."""
    max_chars: int = Field(default=4000, ge=1)
    """How much of a row the model is shown, from its start."""
    relabel: bool = False
    """Ask about rows too that have one of the classes as their label already; else those stay as they are."""
    concurrency: Annotated[int, Field(ge=1, le=256), Cosmetic()] = 4
    """Calls at a time."""

    @model_validator(mode="after")
    def examples_have_classes(self) -> Self:
        """Fail on an example of no class."""
        for each in self.examples:
            if each.label not in self.classes:
                raise ValueError(f"an example has the label {each.label!r}, which is no class{did_you_mean(each.label, self.classes)}")
        return self


@stage(reads={"records": ("dedup", "scrape")})
def label(config: LabelConfig, run: Run) -> None:
    """Let a language model put each record into one of your classes; an answer once paid for is never paid for again."""
    from src.label.answers import Answers
    from src.label.calls import Calls
    from src.label.labels import Labels
    from src.label.questions import Questions

    questions = Questions(
        asked=essence(config.backend),
        classes=config.classes,
        instructions=config.instructions,
        examples=[(each.text, each.label) for each in config.examples],
        max_chars=config.max_chars,
        max_tokens=config.max_tokens,
        temperature=config.temperature,
    )
    labels = Labels(config.classes, config.backend.name, questions, relabel=config.relabel)
    with Answers(run.cache / CACHE) as answers:
        calls = Calls(config.backend.open, config.backend.name, questions, answers, concurrency=config.concurrency)
        calls.put(labels.unlabelled(run.progress(run.records(), total=run.count())))
        run.write_records(run.kept(labels.judge(run.records(), answers, calls.failed)))
    run.info |= {"model": config.backend.name, **calls.figures(), **labels.figures()}
