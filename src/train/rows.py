"""Turn the dataset's conversations into token ids and labels, each row checked, none cut."""

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from src.core.errors import MlxError
from src.core.files import read_jsonl
from src.core.ledger import Drop
from src.core.run import Run
from src.models.conversation import Fault
from src.models.template import examine

IGNORED = -100
"""The label of a token that is not learned."""


@dataclass(frozen=True, slots=True)
class Row:
    """A conversation as it goes into the model."""

    id: str
    ids: "array[int]"
    labels: "array[int]"
    """The ids where the assistant speaks, -100 elsewhere."""
    source: str = ""
    """What kind of source it comes from, as its tag `source:` says."""

    @property
    def learned(self) -> int:
        """Number of tokens that count in the loss."""
        return len(self.labels) - self.labels.count(IGNORED)


def read_rows(run: Run, tokenizer: PreTrainedTokenizerBase, split: str, *, longest: int) -> list[Row]:
    """Read `split`.jsonl of the dataset; rows that cannot be learned go to the ledger.

    Raises:
        MlxError: Where the split is missing, or no row of the training split is left.
    """
    path = run.input("dataset").path / f"{split}.jsonl"
    if not path.exists():
        raise MlxError(f"{path} is missing", "make it with `mlx build`")
    rows: list[Row] = []
    for item in run.progress(_rows(path, tokenizer, longest), unit="row", desc=f"tokens of {split}"):
        if isinstance(item, Drop):
            run.ledger.drop(item)
        else:
            run.ledger.keep()
            rows.append(item)
    return rows


def _rows(path: Path, tokenizer: PreTrainedTokenizerBase, longest: int) -> Iterator[Row | Drop]:
    for example in read_jsonl(path):
        found = examine(tokenizer, example, max_tokens=longest)
        if isinstance(found, Fault):
            yield Drop(example["id"], found.reason, found.detail, example)
            continue
        labels = (each if learned else IGNORED for each, learned in zip(found.ids, found.mask, strict=True))
        yield Row(example["id"], array("i", found.ids), array("i", labels), source_of(example.get("tags") or ()))


def source_of(tags: Iterable[str]) -> str:
    """The value of the tag `source:`; empty where there is none."""
    return next((tag.removeprefix("source:") for tag in tags if tag.startswith("source:")), "")


def as_columns(rows: Iterable[Row]) -> dict[str, list[Any]]:
    """Return the columns `input_ids` and `labels`, which TRL takes as they are."""
    rows = list(rows)
    return {"input_ids": [list(row.ids) for row in rows], "labels": [list(row.labels) for row in rows]}
