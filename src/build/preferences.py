"""Pairs of answers to one prompt, one preferred to the other: what preference tuning learns from."""

from collections.abc import Iterator
from typing import Any, Literal

from src.build.candidate import Candidate
from src.build.formats import Unreadable
from src.build.preference_formats import preference
from src.build.row_files import RowFiles
from src.build.tags import tags_of
from src.core.ledger import Drop


class Preferences(RowFiles):
    """Chosen and rejected answers from files; they go to `<split>_preferences.jsonl`."""

    type: Literal["preferences"] = "preferences"

    def examples(self) -> Iterator[Candidate | Drop]:
        """Yield the pairs of all files, and the rows that are none."""
        for found in self.rows():
            yield found if isinstance(found, Drop) else self.pair(*found)

    def pair(self, name: str, row: dict[str, Any]) -> Candidate | Drop:
        """Read one row."""
        try:
            prompt, chosen, rejected, tools = preference(row)
        except Unreadable as error:
            return Drop(name, error.reason, error.detail, row)
        tags = ["source:preferences", *(["tools"] if tools else []), *tags_of(row, self.tags)]
        return Candidate(
            {"id": name, "messages": [*prompt, *chosen], "tools": tools, "label": None, "tags": tags, "sources": [name]},
            self.key(name, row),
            rejected=rejected,
            chosen=len(chosen),
            licence=self.licence,
        )
