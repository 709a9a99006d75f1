"""The source `huggingface`: a data set of the Hub, streamed, or its files in a local folder."""

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from src.core.config import Config, InputPath
from src.core.ledger import Drop
from src.core.records import Record
from src.scrape.files import Names
from src.scrape.rows import Columns, record
from src.scrape.source import Piece


class HuggingFaceSource(Config):
    """Rows of a data set: a record a row; what a data set brings as code is never run."""

    type: Literal["huggingface"] = "huggingface"
    dataset: str = ""
    """Its id on the Hub, such as `zeroshot/twitter-financial-news-sentiment`; a token comes from HF_TOKEN."""
    folder: InputPath | None = None
    """A folder with its files (jsonl, csv, parquet, or as `save_to_disk` writes them); nothing is fetched then."""
    config: str | None = None
    """Which of its configurations."""
    split: str = "train"
    """Which split."""
    revision: str | None = None
    """Branch, tag or commit; a commit keeps it the same for ever."""
    text: Names = ("text",)
    """Column(s) that make the text, several joined by an empty line; the others become meta."""
    id: str | None = None
    """Column that names a row; without it rows are named DATASET/SPLIT:NUMBER."""
    limit: int | None = Field(default=None, gt=0)
    """Most rows to take, from the first."""
    meta: dict[str, str] = Field(default_factory=dict)
    """What to note about every record besides, such as `licence`."""

    @model_validator(mode="after")
    def _names_one(self) -> "HuggingFaceSource":
        if bool(self.dataset) == bool(self.folder):
            raise ValueError("needs either the id of a `dataset` or a `folder`")
        return self

    def files(self) -> Iterable[Path]:
        """The folder, where it has one."""
        return [self.folder] if self.folder else []

    def pieces(self, work: Path, cache: Path) -> Iterator[Piece | Drop]:
        """Yield a piece a shard, so that a kill loses no more than one; a single piece where there is a limit."""
        from src.scrape.hub import Shards

        name = f"{self.dataset or (self.folder or Path()).as_posix()}/{self.split}"
        shards = Shards(self.dataset or str(self.folder), config=self.config, split=self.split, revision=self.revision, limit=self.limit)
        for number in range(shards.count):
            label = name if shards.count == 1 else f"{name}/{number}"
            yield Piece(f"huggingface:{label}", partial(self._records, label, partial(shards.rows, number)))

    def _records(self, label: str, rows: "partial[Iterator[Mapping[str, object] | Drop]]") -> Iterator[Record | Drop]:
        for number, row in enumerate(rows(), 1):
            yield row if isinstance(row, Drop) else record(f"{label}:{number}", row, Columns(self.text, self.id), self.meta)
