"""Examples for a classifier: a text and its class, from files or from labelled records."""

from collections.abc import Iterable, Iterator
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from src.build.candidate import Candidate
from src.build.row_files import JSON, LINES, TABLES, RowFiles
from src.build.tags import tags_of
from src.core.files import digest
from src.core.ledger import Drop
from src.core.records import Record
from src.text.normalise import normalise


class Classes(RowFiles):
    """Texts with a class: .csv, .tsv, .jsonl, .json, .parquet; the records of the stage before where no file is named."""

    suffixes = (*TABLES, *LINES, *JSON, ".parquet")

    type: Literal["classes"] = "classes"
    text: str = "text"
    """Column of the text."""
    label: str = "label"
    """Column of the class."""
    names: dict[str, str] = Field(default_factory=dict)
    """What the file's classes are called here, such as {"0": bearish}; other ones are dropped. Empty: as they stand."""
    ask: str = "{text}"
    """How the text is put to the model; {text} is the text."""

    @model_validator(mode="after")
    def one_way_to_name_files(self) -> Self:
        """Take one way to name files, or none; and a question that holds the text."""
        if self.path is not None and self.glob is not None:
            raise ValueError("give `path` or `glob`, not both; neither for the records")
        if "{text}" not in self.ask:
            raise ValueError("ask: needs {text}")
        return self

    @property
    def of_records(self) -> bool:
        """Whether the texts are the records of the stage before."""
        return self.path is None and self.glob is None

    def examples(self, records: Iterable[Record] = ()) -> Iterator[Candidate | Drop]:
        """Yield the examples, and the rows that are none; of the same text with two classes only the first."""
        classed: dict[str, tuple[str, str]] = {}
        rows = self._records(records) if self.of_records else self.rows((self.text, self.label))
        for found in rows:
            made = found if isinstance(found, Drop) else self.example(*found)
            if isinstance(made, Candidate):
                name, label = made.example["id"], str(made.example["label"])
                first = classed.setdefault(digest(normalise(made.example["messages"][0]["content"])), (label, name))
                if first[0] != label:
                    made = Drop(name, "label_conflict", f"{label}, but {first[0]} as {first[1]}", dict(made.example))
            yield made

    def example(self, name: str, row: dict[str, Any]) -> Candidate | Drop:
        """Read one row."""
        text, label = row.get(self.text), row.get(self.label)
        if fault := self._fault(row, text, label):
            return Drop(name, *fault, row)
        named = self.names.get(str(label).strip(), str(label).strip())
        messages = [{"role": "user", "content": self.ask.replace("{text}", str(text).strip())}, {"role": "assistant", "content": named}]
        return Candidate(
            {
                "id": name,
                "messages": messages,
                "tools": [],
                "label": named,
                "tags": ["source:classes", *tags_of({key: value for key, value in row.items() if key != "source"}, self.tags)],
                "sources": [name],
            },
            str(row["source"]) if self.of_records and row.get("source") else self.key(name, row),
            licence=self.licence or row.get("licence") if self.of_records else self.licence,
        )

    def _fault(self, row: dict[str, Any], text: Any, label: Any) -> tuple[str, str] | None:
        missing = [column for column in (self.text, self.label) if column not in row]
        if missing and not self.of_records:
            return "no_column", f"no {' and no '.join(map(repr, missing))} among {', '.join(map(str, row))[:200]}"
        if not isinstance(text, str) or not text.strip():
            return "no_text", f"{self.text} is {text!r:.60}"
        if label is None or not str(label).strip():
            return "no_label", f"{self.label} is {label!r}"
        if self.names and str(label).strip() not in self.names:
            return "unknown_label", f"{label!r} is not among {', '.join(self.names)}"
        return None

    def _records(self, records: Iterable[Record]) -> Iterator[tuple[str, dict[str, Any]]]:
        for number, record in enumerate(records, start=1):
            if self.limit is not None and number > self.limit:
                return
            yield record.id, {**record.meta, self.text: record.text, self.label: record.meta.get(self.label)}
