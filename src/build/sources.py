"""The examples that a project's sources give, each with the name of its source."""

from collections.abc import Iterable, Iterator
from itertools import count
from typing import Any

from src.build import BuildConfig, source_names
from src.build.candidate import Candidate
from src.build.chats import TURNS, Chats
from src.build.classes import Classes
from src.build.passages import Passages
from src.build.preferences import Preferences
from src.build.tokens import Tokens
from src.build.tools import ToolDialogues
from src.core.errors import MlxError
from src.core.ledger import Drop
from src.core.records import Example, Record
from src.core.run import Run
from src.core.seeds import derive


class Sources:
    """The sources of a build."""

    def __init__(self, config: BuildConfig, run: Run, tokens: Tokens) -> None:
        self.config = config
        self.run = run
        self.tokens = tokens

    def examples(self) -> Iterator[Candidate | Drop]:
        """What all of them give, in their order."""
        makers = count()
        for number, name in enumerate(source_names(self.config.sources)):
            for item in self.of(number, makers):
                if isinstance(item, Candidate):
                    item.source = name
                yield item

    def of(self, number: int, makers: Iterator[int]) -> Iterable[Candidate | Drop]:
        """What one source gives; `makers` counts those that make dialogues up."""
        source = self.config.sources[number]
        if isinstance(source, Passages):
            prose = (record for record in self.persona(number) if TURNS not in record.meta)
            return source.examples(prose, measure=self.tokens.measure, seed=self.run.seed)
        if isinstance(source, Classes):
            return source.examples(self.persona(number) if source.of_records else ())
        if isinstance(source, Chats):
            return source.examples(self.persona(number) if source.of_records else ())
        if isinstance(source, Preferences):
            return source.examples()
        maker = next(makers)
        if isinstance(source, ToolDialogues):
            return (decided(row, maker, "tools") for row in source.examples(derive(self.run.seed, "tools", maker)))
        return (decided(row, maker, "weather", source.licence) for row in source.examples(derive(self.run.seed, "weather", maker)))

    def persona(self, number: int) -> Iterator[Record]:
        """The records of the persona."""
        if not self.run.has("records"):
            kind = self.config.sources[number].type
            raise MlxError(
                f"{self.run.stage}.sources[{number}]: {kind} need records", f"add a section `scrape:`, or set {self.run.stage}.input"
            )
        return (record for record in self.run.records() if record.matches(self.config.persona))


def decided(row: dict[str, Any], number: int, kind: str, licence: str | None = None) -> Candidate:
    """A row of a source that has split its rows itself; `number` keeps the ids of two such sources apart."""
    name = f"{row['id']}@{number}" if number else row["id"]
    example = Example(
        id=name, messages=row["messages"], tools=row["tools"], label=None, tags=[f"source:{kind}", *row["tags"]], sources=row["sources"]
    )
    return Candidate(example, name, row["split"], decided=True, licence=licence)
