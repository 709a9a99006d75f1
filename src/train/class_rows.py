"""Turn the dataset's texts and classes into token ids and numbers of classes; what has none is a row of the ledger."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from src.core.errors import MlxError
from src.core.files import read_jsonl
from src.core.ledger import Drop
from src.core.manifest import Manifest
from src.core.run import Run
from src.models.class_tokens import TooLong, class_ids, class_text
from src.models.conversation import Fault


@dataclass(frozen=True, slots=True)
class ClassRow:
    """A text as it goes into the model."""

    id: str
    ids: list[int]
    label: int
    """Place of its class among the model's."""


@dataclass(frozen=True)
class Reading:
    """How rows are read: by which tokenizer, which classes, up to which length."""

    tokenizer: Any
    labels: tuple[str, ...]
    longest: int
    too_long: TooLong

    def row(self, example: dict[str, Any]) -> tuple[ClassRow, bool] | Drop:
        """Read an example: the row, and whether its text was truncated; or why it is none."""
        name, label = example["id"], example.get("label")
        if label not in self.labels:
            detail = f"{label!r} is not among {', '.join(self.labels)}"
            return Drop(name, "no_label" if label is None else "unknown_label", detail, example)
        text = class_text(example)
        found = class_ids(self.tokenizer, text, longest=self.longest, too_long="drop")
        truncated = isinstance(found, Fault) and found.reason == "too_long" and self.too_long == "truncate"
        if truncated:
            found = class_ids(self.tokenizer, text, longest=self.longest, too_long="truncate")
        if isinstance(found, Fault):
            return Drop(name, found.reason, found.detail, example)
        return ClassRow(name, found, self.labels.index(label)), truncated


def read_class_rows(run: Run, reading: Reading, split: str) -> list[ClassRow]:
    """Read `split`.jsonl of the dataset; what cannot be learned goes to the ledger, what was truncated is counted and said."""
    rows: list[ClassRow] = []
    cut = 0
    for example in run.progress(read_jsonl(split_file(run, split)), desc=f"tokens of {split}"):
        found = reading.row(example)
        if isinstance(found, Drop):
            run.ledger.drop(found)
            continue
        run.ledger.keep()
        rows.append(found[0])
        cut += found[1]
    if cut:
        run.log.warning("%d of %d texts of %s have over %d tokens: their beginning is taken", cut, len(rows), split, reading.longest)
    run.info.setdefault("truncated", {})[split] = cut
    return rows


def class_names(run: Run, given: tuple[str, ...]) -> tuple[str, ...]:
    """The classes in the model's order: those given, else those of the training rows by name.

    Raises:
        MlxError: Where the rows have fewer than two.
    """
    found = Counter(str(each["label"]) for each in read_jsonl(split_file(run, "train")) if each.get("label") is not None)
    if given:
        if missing := [name for name in given if name not in found]:
            run.log.warning("no training row is of the class %s", ", ".join(map(repr, missing)))
        return given
    if len(found) < 2:
        raise MlxError(
            f"the training rows have {len(found)} classes: a classifier needs two",
            "build them with a source `classes`, and name their column with `label`",
        )
    return tuple(sorted(found))


def text_alone(dataset: Manifest | None) -> None:
    """Fail where the build put texts to a chat model with a question: a classifier is later given the text alone."""
    for number, source in enumerate((dataset.config if dataset else {}).get("sources", ())):
        if source.get("type") == "classes" and source.get("ask", "{text}") != "{text}":
            raise MlxError(
                f"build.sources.{number}.ask puts a question around each text, and a classifier reads the text alone", "remove it"
            )


def split_file(run: Run, split: str) -> Path:
    """The file of a split, checked to be there."""
    path = run.input("dataset").path / f"{split}.jsonl"
    if not path.exists():
        raise MlxError(f"{path} is missing", "make it with `mlx build`")
    return path


def texts_of(path: Path) -> Iterator[str]:
    """The texts of a split's rows."""
    return (class_text(example) for example in read_jsonl(path) if class_text(example).strip())


def class_counts(rows: Sequence[ClassRow], classes: int) -> list[int]:
    """How many rows each class has."""
    counts = Counter(row.label for row in rows)
    return [counts[number] for number in range(classes)]
