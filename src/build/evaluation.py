"""Evaluation sets that nothing learned may hold: which files they are, and the texts of their items."""

import glob
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from src.build.row_files import JSON, LINES, TABLES, named_rows
from src.core.config import Config, InputPath
from src.core.errors import MlxError
from src.core.ledger import Drop

READ = (*LINES, *JSON, *TABLES, ".parquet", ".txt")
ASKED = ("question", "prompt", "instruction", "query", "input", "text", "goal", "problem", "sentence", "premise", "user")
ANSWERED = ("answer", "output", "completion", "response", "chosen", "rejected", "solution", "assistant", "canonical_solution")
_USERS, _ASSISTANTS = ("user", "human"), ("assistant", "gpt", "model")


class EvaluationSet(Config):
    """Items to be tested with: rows that hold one are dropped as `contaminated`."""

    path: InputPath | None = None
    """A file of items, or a folder of them: .json, .jsonl, .csv, .tsv, .parquet, .txt (an item a line)."""
    glob: str | None = None
    """A pattern in place of `path`."""
    split: Literal["test", "validation"] | None = None
    """In place of files: a split of this project; only training rows are compared with it."""
    fields: tuple[str, ...] = ()
    """Keys whose texts are an item's; empty for what is commonly asked and answered: messages, question, prompt, text, …."""
    ngram: int = Field(13, ge=5)
    """Words in a row that no row may share with an item; of shorter items the whole, from eight words on."""
    overlap: float = Field(0.0, ge=0, le=1)
    """Share of an item's runs of words that makes a row contaminated; 0: a single one (Brown et al. 2020, appendix C)."""
    threshold: float | None = Field(0.6, gt=0, le=1)
    """Jaccard similarity of word 3-grams from which a message counts as an item in other words; null: not compared."""

    @model_validator(mode="after")
    def one_way_to_name_items(self) -> Self:
        """Take exactly one of path, pattern and split."""
        if sum(each is not None for each in (self.path, self.glob, self.split)) != 1:
            raise ValueError("give one of `path`, `glob` and `split`")
        return self

    @property
    def title(self) -> str:
        """What ledger and card call it."""
        return self.path.as_posix() if self.path else str(self.glob or f"the {self.split} split")

    def files(self) -> Iterable[Path]:
        """The files, in order."""
        if self.glob is not None:
            return sorted(Path(name) for name in glob.glob(self.glob, recursive=True) if Path(name).is_file())  # noqa: PTH207 (absolute ones too)
        if self.path is not None and self.path.is_dir():
            return sorted(each for each in self.path.rglob("*") if each.suffix in READ)
        return [self.path] if self.path else []

    def items(self) -> Iterator[tuple[str, str, str] | Drop]:
        """Yield name, part (`asked` or `answered`) and text of what each item says; drops for rows that cannot be read."""
        files = list(self.files())
        if not files:
            raise MlxError(f"decontaminate: {self.title}: no files", "set `path` to a file of items, or `glob` to a pattern")
        for file in files:
            for found in _lines(file) if file.suffix == ".txt" else named_rows(file):
                if isinstance(found, Drop):
                    yield found
                    continue
                name, row = found
                texts = list(dict.fromkeys(texts_of(row, self.fields)))
                yield from ((name, part, text) for part, text in texts)
                if not texts:
                    yield Drop(name, "no_text", f"keys: {', '.join(map(str, row))[:200]}")


def texts_of(row: Any, fields: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """Yield what is `asked` and `answered` anywhere in a row, however deep."""
    if isinstance(row, list | tuple):
        for each in row:
            yield from texts_of(each, fields)
    if not isinstance(row, Mapping):
        return
    role = str(row.get("role", row.get("from", "")))
    for key, value in row.items():
        if fields:
            part = "asked" if key in fields else ""
        elif key in ("content", "value"):
            part = "asked" if role in _USERS else "answered" if role in _ASSISTANTS else ""
        else:
            part = "asked" if key in ASKED else "answered" if key in ANSWERED else ""
        if part:
            yield from ((part, text) for text in _strings(value))
        yield from texts_of(value, fields)


def _strings(value: Any) -> Iterator[str]:
    """A text, or the texts of a list of them or of typed parts."""
    if isinstance(value, str) and value.strip():
        yield value
    elif isinstance(value, list):
        for each in value:
            text = each.get("text", each.get("value")) if isinstance(each, Mapping) and "type" in each else each
            if isinstance(text, str) and text.strip():
                yield text


def _lines(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    with file.open(encoding="utf-8", errors="replace") as stream:
        for number, line in enumerate(stream, start=1):
            if line.strip():
                yield f"{file.as_posix()}:{number}", {"text": line.strip()}
