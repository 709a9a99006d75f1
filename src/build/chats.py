"""Examples from conversations one already has: OpenAI messages, ShareGPT, Alpaca, completions, in JSON or JSON lines; or in records."""

from collections.abc import Iterable, Iterator
from typing import Any, Literal, Self

from pydantic import model_validator

from src.build.candidate import Candidate
from src.build.formats import Unreadable, conversation
from src.build.row_files import RowFiles
from src.build.tags import tags_of
from src.core.ledger import Drop
from src.core.records import Record

TURNS = "messages"
"""Key of meta under which a record has the turns of a conversation."""


class Chats(RowFiles):
    """Conversations from files: .jsonl, .json; those among the records of the stage before where no file is named."""

    type: Literal["chats"] = "chats"

    @model_validator(mode="after")
    def one_way_to_name_files(self) -> Self:
        """Take one way to name files, or none."""
        if self.path is not None and self.glob is not None:
            raise ValueError("give `path` or `glob`, not both; neither for the records")
        return self

    @property
    def of_records(self) -> bool:
        """Whether the conversations are records of the stage before, as the source `gateway_log` makes them."""
        return self.path is None and self.glob is None

    def examples(self, records: Iterable[Record] = ()) -> Iterator[Candidate | Drop]:
        """Yield the examples, and the rows that are none."""
        for found in self._records(records) if self.of_records else self.rows():
            yield found if isinstance(found, Drop) else self.example(*found)

    def _records(self, records: Iterable[Record]) -> Iterator[tuple[str, dict[str, Any]]]:
        """The conversations among the records, as many as `limit` says."""
        found = (record for record in records if TURNS in record.meta)
        for number, record in enumerate(found, start=1):
            if self.limit is not None and number > self.limit:
                return
            yield record.id, {key: record.meta[key] for key in (TURNS, "tools") if key in record.meta}

    def example(self, name: str, row: dict[str, Any]) -> Candidate | Drop:
        """Read one row."""
        try:
            messages, tools = conversation(row)
        except Unreadable as error:
            return Drop(name, error.reason, error.detail, row)
        label = row.get("label")
        return Candidate(
            {
                "id": name,
                "messages": list(messages),
                "tools": tools,
                "label": None if label is None else str(label),
                "tags": ["source:chats", *(["tools"] if tools else []), *tags_of(row, self.tags)],
                "sources": [name],
            },
            self.key(name, row),
            licence=self.licence,
        )
