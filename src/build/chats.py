"""Examples from conversations one already has: OpenAI messages, ShareGPT, Alpaca, completions, in JSON or JSON lines."""

from collections.abc import Iterator
from typing import Any, Literal

from src.build.candidate import Candidate
from src.build.formats import Unreadable, conversation
from src.build.row_files import RowFiles
from src.build.tags import tags_of
from src.core.ledger import Drop


class Chats(RowFiles):
    """Conversations from files: .jsonl, .json."""

    type: Literal["chats"] = "chats"

    def examples(self) -> Iterator[Candidate | Drop]:
        """Yield the examples of all files, and the rows that are none."""
        for found in self.rows():
            yield found if isinstance(found, Drop) else self.example(*found)

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
