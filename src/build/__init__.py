"""Build conversations to learn from, in train, validation and test."""

from typing import Annotated

from pydantic import Field

from src.build.chats import Chats
from src.build.passages import Passages
from src.build.split import Splits
from src.build.tools import ToolDialogues
from src.core.run import Run
from src.core.stage import StageConfig, stage

Source = Annotated[Passages | Chats | ToolDialogues, Field(discriminator="type")]


class BuildConfig(StageConfig):
    """What the model learns from."""

    system: str | None = None
    """The persona's system prompt, put first in every example that has none; `serve` applies it too."""
    persona: dict[str, str | list[str]] = Field(default_factory=dict)
    """Values of meta that mark the persona's records, such as {author: "Twain, Mark"}; empty for all records."""
    sources: tuple[Source, ...] = Field((Passages(),), min_length=1)
    """Where the examples come from."""
    tokenizer: str | None = None
    """The tokenizer that will be trained: a hub id, a folder, `scratch` to make a small one; null leaves its checks to train."""
    max_tokens: int = Field(4096, ge=16)
    """Longer examples are dropped: nothing is cut unasked."""
    splits: Splits = Splits()
    """Shares held out, whole documents at a time."""


@stage(reads={"records": ("label", "dedup", "scrape", None)})
def build(config: BuildConfig, run: Run) -> None:
    """Build conversations to learn from, check each one's tokens, and split them by document."""
    from src.build.dataset import Dataset

    Dataset(config, run).write()
