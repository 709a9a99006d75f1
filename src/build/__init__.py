"""Build conversations to learn from, in train, validation and test."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from src.build.chats import Chats
from src.build.checks import Check
from src.build.classes import Classes
from src.build.evaluation import EvaluationSet
from src.build.mix import Mix
from src.build.passages import Passages
from src.build.preferences import Preferences
from src.build.split import Splits
from src.build.tags import KEYS, MADE, Key, unknown_tag
from src.build.tools import ToolDialogues
from src.build.weather_dialogues import WeatherDialogues
from src.core.errors import did_you_mean
from src.core.run import Run
from src.core.stage import StageConfig, stage

Source = Annotated[Passages | Chats | Classes | Preferences | ToolDialogues | WeatherDialogues, Field(discriminator="type")]


class BuildConfig(StageConfig):
    """What the model learns from."""

    system: str | None = None
    """The persona's system prompt, put first in every example that has none; `serve` applies it too."""
    persona: dict[str, str | list[str]] = Field(default_factory=dict)
    """Values of meta that mark the persona's records, such as {author: "Twain, Mark"}; empty for all records."""
    sources: tuple[Source, ...] = Field((Passages(),), min_length=1)
    """Where the examples come from."""
    tags: dict[Key, tuple[str, ...]] = Field(default_factory=dict)
    """The project's vocabulary, such as {tone: [dry, warm]}: rows with another value of these keys are dropped."""
    tokenizer: str | None = None
    """The tokenizer that will be trained: a hub id, a folder, `scratch` to make a small one; null leaves its checks to train."""
    max_tokens: int = Field(4096, ge=16)
    """Most tokens of an example; `too_long` says what becomes of longer ones."""
    too_long: Literal["drop", "split", "truncate"] = "drop"
    """Longer conversations are dropped; or made into several at the users' turns; or lose their earlier turns. No text is cut."""
    thoughts: Literal["keep", "strip", "refuse"] = "keep"
    """Between <think> and </think>: learned where the template writes them; taken out of the answers; or the row is dropped."""
    splits: Splits = Splits()
    """Shares held out, whole documents at a time."""
    decontaminate: tuple[EvaluationSet, ...] = ()
    """Evaluation sets that nothing learned may hold."""
    mix: Mix | None = None
    """How much of each source training sees; null for all of everything."""
    checks: tuple[Check, ...] = ()
    """Tests of the finished dataset; one that fails fails the stage, unless it says `tolerate: true`."""

    @model_validator(mode="after")
    def names_are_known(self) -> Self:
        """Name weights of no source, tags outside the vocabulary, keys that no tag has."""
        known = source_names(self.sources)
        for name in self.mix.weights if self.mix else ():
            if name not in known:
                raise ValueError(f"mix.weights: no source is called {name!r}{did_you_mean(name, known)}")
        for source, name in zip(self.sources, known, strict=True):
            given = getattr(source, "tags", None) or {}
            if fault := unknown_tag((f"{key}:{value}" for key, value in given.items()), self.tags):
                raise ValueError(f"tags of {name}: {fault}")
        for key in self.splits.stratify:
            if key not in ("label", *KEYS, *MADE):
                raise ValueError(f"splits.stratify: no tag has the key {key!r}{did_you_mean(key, ('label', *KEYS, *MADE))}")
        return self


def source_names(sources: tuple[Source, ...]) -> list[str]:
    """What mix and card call the sources: the name given, else the type; a second one of a name has a 2 behind it."""
    names: list[str] = []
    for source in sources:
        name = getattr(source, "name", None) or source.type
        number = sum(each.rstrip("0123456789") == name or each == name for each in names)
        names.append(f"{name}{number + 1}" if number else name)
    return names


@stage(reads={"records": ("label", "dedup", "scrape", None)}, volatile=("card.md", "lengths.png"))
def build(config: BuildConfig, run: Run) -> None:
    """Build conversations to learn from, check each one's tokens, and split them by document."""
    from src.build.dataset import Dataset

    Dataset(config, run).write()
