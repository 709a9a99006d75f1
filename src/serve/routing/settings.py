"""The settings of `serve.routes` and `serve.residency`."""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from src.core.config import Config, InputPath
from src.core.errors import did_you_mean
from src.serve.embedding.embedder import Embedder, MiniLM
from src.serve.routing.pattern import Pattern

Weight = Annotated[float, Field(gt=0, le=1e6)]
Weighted = Annotated[dict[str, Weight], Field(min_length=1)]
Target = str | Weighted
"""A model's name, or several with their weights."""


def names(target: Target) -> tuple[str, ...]:
    """The models that a target may mean."""
    return (target,) if isinstance(target, str) else tuple(target)


def _compiles(text: str) -> str:
    Pattern(text)
    return text


class Rule(Config):
    """Where all of its conditions hold, a request goes `to` this model."""

    to: Target
    """The model, or several with weights, as {coder: 9, coder_new: 1}."""
    regex: Annotated[str, AfterValidator(_compiles)] | None = None
    """Found in what the user said last; Rust's syntax, so that no text makes it slow: (?i) for any case, no look-around."""
    keyword: tuple[Annotated[str, Field(min_length=1, max_length=100)], ...] = Field(default=(), max_length=100)
    """One of these words or phrases is in what the user said last, in any case."""
    tools: bool | None = None
    """Whether tools are offered."""
    images: bool | None = None
    """Whether there are images."""
    longer_than: Annotated[int, Field(ge=0)] | None = None
    """Messages and tools have more tokens than this, estimated."""
    shorter_than: Annotated[int, Field(ge=1)] | None = None
    """They have fewer than this."""
    header: dict[str, str] = Field(default_factory=dict)
    """Headers that the client sends, with these values; "*" is any value."""
    role: tuple[str, ...] = ()
    """The client has one of these roles (serve.access)."""

    @model_validator(mode="after")
    def _asks_something(self) -> Self:
        if not self.model_fields_set - {"to"}:
            raise ValueError("a rule without a condition takes every request: set one, or make it the `default`")
        return self


class Classifier(Config):
    """Finds the task of a request among examples, by the meaning of what the user said last."""

    embedder: Embedder = MiniLM()
    """What makes vectors of texts: `minilm`, or `hashing`, which needs no extra and knows words, not meanings."""
    neighbours: int = Field(default=5, ge=1, le=50)
    """How many nearest examples of a task count."""
    threshold: float = Field(default=0.15, ge=-1, le=1)
    """Least mean cosine to them; below it the default answers."""
    margin: float = Field(default=0.0, ge=0, le=1)
    """Least distance to the next task; below it the default answers."""
    timeout: float = Field(default=0.5, gt=0, le=30)
    """Seconds that a request waits for its task; then the default answers."""


class Shadow(Config):
    """A copy of some requests, for a model whose answers nobody sees."""

    to: str
    """The model that gets the copies."""
    share: float = Field(default=1.0, gt=0, le=1)
    """Of the requests, which part is copied."""


class Shadows(Config):
    """How much may be copied at once."""

    most: int = Field(default=4, ge=1, le=1000)
    """Copies under way; further ones are left out and counted."""
    timeout: float = Field(default=120, gt=0)
    """Seconds that a copy may take."""


Examples = dict[str, tuple[str, ...]]


class Routes(Config):
    """Which model answers a request that names none of them but `name`: rules in order, then examples, then the default."""

    name: str = Field(min_length=1, max_length=128, pattern=r"^[\w.:/-]+$")
    """The model name that is routed; every other one is the name of a model, and goes straight to it."""
    default: Target
    """The model where nothing else decides."""
    rules: tuple[Rule, ...] = ()
    """The first that holds decides."""
    examples: InputPath | Annotated[Examples, Field(max_length=64)] = Field(default_factory=dict)
    """Prompts by task, or a YAML file of them; compared in a process of its own, which memory shares."""
    tasks: dict[str, Target] = Field(default_factory=dict)
    """The model for each task of the examples; a task that is called like a model needs no entry."""
    classifier: Classifier = Classifier()
    """How the task is found by the examples."""
    fallback: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Models that are tried in order where one fails before its first byte."""
    sticky: bool = True
    """Whether weights choose by user and conversation, so that a conversation stays with its model."""
    shadow: dict[str, Shadow] = Field(default_factory=dict)
    """By model that answers: who gets a copy."""
    shadows: Shadows = Shadows()
    """How many copies may be under way."""

    def files(self) -> Iterator[Path]:
        """The file of examples, if it is one."""
        if isinstance(self.examples, Path):
            yield self.examples

    def mentioned(self) -> Iterator[tuple[str, str]]:
        """Each model that is named, with where."""
        for number, rule in enumerate(self.rules, 1):
            yield from ((name, f"rule {number}") for name in names(rule.to))
        yield from ((name, "default") for name in names(self.default))
        yield from ((name, f"tasks.{task}") for task, target in self.tasks.items() for name in names(target))
        for name, others in self.fallback.items():
            yield from ((each, f"fallback.{name}") for each in (name, *others))
        for name, shadow in self.shadow.items():
            yield from ((each, f"shadow.{name}") for each in (name, shadow.to))

    def check(self, models: Collection[str]) -> None:
        """Fail where a model is named that is not there.

        Raises:
            ValueError: With the first such name, and where it stands.
        """
        for name, where in self.mentioned():
            if name not in models:
                raise ValueError(f"routes: {where}: there is no model {name!r}{did_you_mean(name, models)}")
        if self.name in models:
            raise ValueError(f"routes: {self.name!r} is the name of a model too; give the route another one")


class Budgets(Config):
    """Memory that loaded models may take together; what they declare as vram_gb and ram_gb is counted."""

    vram_gb: float = Field(default=0.0, ge=0)
    """On the GPU, in GB."""
    ram_gb: float = Field(default=0.0, ge=0)
    """Beside it, in GB: models without a GPU, and what is offloaded from one."""
    wait: float = Field(default=120.0, gt=0)
    """Seconds that a request may wait for its model's turn; then 503."""
    linger: float = Field(default=1.0, ge=0)
    """Seconds that a model stays after its last request though another one is waited for: an agent's next request comes soon."""
    batch: float = Field(default=10.0, ge=0)
    """Seconds for which a model in use takes further requests while another one is waited for; then it is drained."""
    load_timeout: float = Field(default=600.0, gt=0)
    """Seconds that a model may take to load or to unload."""
    retry: float = Field(default=15.0, ge=0.01)
    """Seconds after a failed load in which the model is not tried again."""
