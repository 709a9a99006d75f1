"""Let a language model label each record, or make examples of it."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from src.core.config import Config, Cosmetic, InputPath
from src.core.errors import did_you_mean
from src.core.run import Run
from src.core.stage import StageConfig, stage
from src.label.gold import Gold
from src.label.synthesis import Synthesis
from src.llm.asking.budget import Price
from src.llm.asking.verdict import fold
from src.llm.backend import Backend


def described(value: Any) -> Any:
    """Let a list of names stand for classes without a description."""
    if isinstance(value, list | tuple) and all(isinstance(each, str) for each in value):
        if len(set(value)) < len(value):
            raise ValueError("names a class twice")
        return dict.fromkeys(value, "")
    return value


def sound(schema: dict[str, Any] | None) -> dict[str, Any] | None:
    """Fail on what is no JSON Schema of an object."""
    if schema is None:
        return None
    from src.llm.asking.json_answer import faults_of

    if faults := faults_of(schema):
        raise ValueError(f"is no JSON Schema: {faults}")
    if schema.get("type") != "object":
        raise ValueError("has to be the schema of an object: `type: object` with `properties`")
    return schema


def told_apart(classes: dict[str, str] | None) -> dict[str, str] | None:
    """Fail on classes that an answer cannot choose between."""
    if classes is None:
        return None
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
    label: str | dict[str, Any]
    """Its class, or with a `json_schema` its answer."""


class LabelConfig(StageConfig):
    """Who labels, what it is told, how fast and for how much. One of `classes`, `json_schema` and `synthesis` says what is asked."""

    backend: Backend
    """The model that is asked: `type: openai`, `ollama`, `bedrock` or `scripted`."""
    classes: Annotated[
        dict[str, str] | None,
        BeforeValidator(described, json_schema_input_type=tuple[str, ...] | dict[str, str] | None),
        AfterValidator(told_apart),
    ] = None
    """Names of the classes, or a mapping of each name to what it stands for."""
    json_schema: Annotated[dict[str, Any] | None, AfterValidator(sound)] = None
    """JSON Schema of an answer, which goes into meta as `answer`; its property `label`, if it has one, becomes the row's label."""
    synthesis: Synthesis | None = None
    """What to make of the rows in place of labelling them; examples go to synthesis.jsonl, which build's `chats` reads."""
    instructions: str | None = None
    """What the model is told about the task; null for words that fit it."""
    examples: tuple[LabelledText, ...] = ()
    """Texts with their answers, shown to the model before each row."""
    prompt: InputPath | None = None
    """YAML with `instructions` and `examples` that take the place of those above, as prompt optimisation writes it."""
    max_tokens: int | None = Field(default=None, ge=1)
    """Longest answer about a row; null: 32 for classes, else 1024; a model that thinks aloud before it answers needs more."""
    temperature: float | None = Field(default=0, ge=0)
    """0 for the likeliest answer; null for models that let none be set."""
    max_chars: int = Field(default=4000, ge=1)
    """How much of a row the model is shown, from its start."""
    structured: bool | None = None
    """Ask the server to hold answers to their form (`response_format`), where it can; null: wherever JSON is asked for."""
    batch: int = Field(default=1, ge=1, le=200)
    """Rows in one call; those whose answers are missing or faulty are asked about again, each alone."""
    repair: bool = True
    """Show the model a faulty answer and its fault once, and let it answer anew."""
    votes: int = Field(default=1, ge=1, le=25)
    """Answers about a row, of which the most frequent counts; fewer are asked for where the rest cannot change it. Ties are unsure."""
    relabel: bool = False
    """Ask about rows too that have one of the classes as their label already; else those stay as they are."""
    gold: Gold | None = None
    """Rows whose right labels are known; they are asked about first, and the run stops where the model does too badly."""
    corrections: InputPath | None = None
    """CSV with columns `id` and `label`, as people filled in unsure.csv; what it says goes before the model."""
    concurrency: Annotated[int | None, Field(ge=1, le=512), Cosmetic()] = None
    """Calls at a time; null: 4, or 64 under a declared rate."""
    requests_per_minute: Annotated[float | None, Field(gt=0), Cosmetic()] = None
    """Calls that the server allows in a minute, further tries included."""
    tokens_per_minute: Annotated[float | None, Field(gt=0), Cosmetic()] = None
    """Tokens that the server allows in a minute, asked and answered together."""
    budget: Annotated[float | None, Field(gt=0), Cosmetic()] = None
    """Money that labelling may cost, runs that were cut short included; no call begins that it may not cover. Needs `price`."""
    price: Annotated[Price | None, Cosmetic()] = None
    """What a million tokens cost: {input: 0.15, output: 0.60}."""

    @model_validator(mode="after")
    def one_task(self) -> Self:
        """Fail on more or less than one task, and on settings that do not go with it."""
        tasks = [name for name in ("classes", "json_schema", "synthesis") if getattr(self, name) is not None]
        if len(tasks) != 1:
            raise ValueError(f"needs one of `classes`, `json_schema` and `synthesis`, and has {' and '.join(tasks) or 'none'}")
        if self.synthesis and (odd := [name for name in ("gold", "corrections", "examples", "prompt") if getattr(self, name)]):
            raise ValueError(f"`{odd[0]}` goes with classes or a json_schema, not with synthesis")
        if self.gold and self.json_schema and "label" not in self.json_schema.get("properties", {}):
            raise ValueError("`gold` measures a label: give json_schema a property `label`")
        return self

    @model_validator(mode="after")
    def examples_have_classes(self) -> Self:
        """Fail on an example of no class."""
        for each in self.examples if self.classes else ():
            if each.label not in (self.classes or {}):
                near = did_you_mean(str(each.label), self.classes or {})
                raise ValueError(f"an example has the label {each.label!r}, which is no class{near}")
        return self

    @model_validator(mode="after")
    def calls_make_sense(self) -> Self:
        """Fail on votes that would all be the same, and on a budget without a price."""
        if self.votes > 1 and self.temperature == 0:
            raise ValueError("`votes` are all the same at temperature 0: set `temperature`, such as 0.7")
        if self.budget is not None and self.price is None:
            raise ValueError("`budget` needs `price`: {input: …, output: …} for a million tokens")
        return self

    def files(self) -> Iterable[Path]:
        """What is read besides the records."""
        found = (self.prompt, self.corrections, self.gold.path if self.gold else None)
        return [path for path in found if path]


@stage(reads={"records": ("dedup", "scrape")})
def label(config: LabelConfig, run: Run) -> None:
    """Let a language model label each record, or make examples of it; an answer once paid for is never paid for again."""
    from src.label.labelling import Labelling

    Labelling(config, run).do()
