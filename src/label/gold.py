"""Rows whose right answers are known: the model is measured on them before it is paid for the rest."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator

from src.core.config import Config, InputPath
from src.core.errors import MlxError
from src.core.records import Record
from src.core.seeds import derive
from src.llm.asking.verdict import fold
from src.text.csv_rows import read_csv
from src.text.jsonl import Fault, read_lines


@dataclass(frozen=True)
class Known:
    """A text with its right label."""

    text: str
    label: str


class Gold(Config):
    """Where right labels are, and how well the model has to agree with them."""

    path: InputPath | None = None
    """CSV or JSON lines with right labels; null where the rows themselves hold them."""
    column: str = "label"
    """Key of the right label: a column of the file, or of a row's meta."""
    text: str = "text"
    """Column of the file that holds the text; without it rows are found by their `id`."""
    names: dict[str, str] = Field(default_factory=dict)
    """Your classes for what the labels are called there, such as {"0": bearish}."""
    rows: int = Field(default=200, ge=2)
    """Rows measured at most, drawn by the seed."""
    min_accuracy: float | None = Field(default=None, ge=0, le=1)
    """The run stops below this share of right answers."""
    min_kappa: float | None = Field(default=None, ge=-1, le=1)
    """The run stops below this agreement beyond chance (Cohen's kappa)."""

    @model_validator(mode="after")
    def label_is_not_what_is_asked(self) -> Self:
        """Fail on rows that would be their own gold."""
        if self.path is None and self.column == "labelled_by":
            raise ValueError("`labelled_by` is no label")
        return self

    def known(self, records: Iterable[Record], classes: Iterable[str], *, seed: int) -> list[Known]:
        """The measured rows.

        Args:
            records: The rows that are labelled.
            classes: Names that a label may have.
            seed: Draws the sample.

        Raises:
            MlxError: Where fewer than two rows have a label that is a class.
        """
        names = {fold(name): name for name in classes} | {fold(name): own for name, own in self.names.items()}
        found: dict[str, str] = {}
        others: dict[str, int] = {}
        for text, said in self._pairs(records):
            label = names.get(fold(said))
            if label is None:
                others[said] = others.get(said, 0) + 1
            elif text.strip():
                found.setdefault(text, label)
        if len(found) < 2:
            unlike = f"; labels that are no class: {', '.join(map(repr, list(others)[:5]))}" if others else ""
            where = self.path or f"the rows' meta {self.column!r}"
            raise MlxError(f"label.gold: {where} has {len(found)} rows with a label{unlike}", "mend `column`, `text` or `names`")
        drawn = sorted(found, key=lambda text: derive(seed, "gold", text))[: self.rows]
        return [Known(text, found[text]) for text in drawn]

    def _pairs(self, records: Iterable[Record]) -> Iterator[tuple[str, str]]:
        if self.path is None:
            yield from ((record.text, str(label)) for record in records if (label := record.meta.get(self.column)) not in (None, ""))
            return
        by_id: dict[str, str] = {}
        for row in rows_of(self.path, wanted=(self.text, self.column)):
            if row.get(self.column) in (None, ""):
                continue
            if isinstance(text := row.get(self.text), str) and text.strip():
                yield text, str(row[self.column])
            elif row.get("id"):
                by_id[str(row["id"])] = str(row[self.column])
        if by_id:
            yield from ((record.text, by_id[record.id]) for record in records if record.id in by_id)


def rows_of(path: Path, wanted: Iterable[str] = ()) -> Iterator[Mapping[str, Any]]:
    """Rows of a CSV file or JSON lines; one that cannot be read is an error, since somebody meant it."""
    rows = read_lines(path) if path.suffix in (".jsonl", ".ndjson", ".json") else read_csv(path, wanted=wanted)
    for found in rows:
        if isinstance(found, Fault):
            raise MlxError(f"{path}:{found.line}: {found.reason}: {found.detail}", "mend the line")
        yield found[1]
