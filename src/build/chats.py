"""Examples from conversations one already has: OpenAI messages, ShareGPT, Alpaca, in JSON or JSON lines."""

import glob
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from src.build.candidate import Candidate
from src.build.formats import Unreadable, conversation
from src.core.config import Config, InputPath
from src.core.errors import MlxError
from src.core.ledger import Drop
from src.text.json_rows import read_json
from src.text.jsonl import Fault, read_lines


class Chats(Config):
    """Conversations from files."""

    type: Literal["chats"] = "chats"
    path: InputPath | None = None
    """A file of conversations, or a folder of them: .jsonl, .json."""
    glob: str | None = None
    """A pattern in place of `path`, such as chats/**/*.jsonl."""
    group: str | None = None
    """Key of a row that tells which rows belong together and so share a split; without one each row stands for itself."""
    limit: int | None = Field(None, ge=1)
    """Rows read at most from each file."""

    @model_validator(mode="after")
    def one_way_to_name_files(self) -> Self:
        """Take a path or a pattern, not both and not neither."""
        if (self.path is None) == (self.glob is None):
            raise ValueError("give either `path` or `glob`")
        return self

    def files(self) -> Iterable[Path]:
        """The files, in order."""
        if self.glob is not None:
            return sorted(Path(name) for name in glob.glob(self.glob, recursive=True) if Path(name).is_file())  # noqa: PTH207 (absolute ones too)
        if self.path is not None and self.path.is_dir():
            return sorted(each for each in self.path.rglob("*") if each.suffix in (".json", ".jsonl", ".ndjson"))
        return [self.path] if self.path else []

    def examples(self) -> Iterator[Candidate | Drop]:
        """Yield the examples of all files, and the rows that are none."""
        files = list(self.files())
        if not files:
            raise MlxError(f"chats: {self.glob or self.path}: no files", "set `path` to a file, or `glob` to a pattern")
        for file in files:
            yield from self.of_file(file)

    def of_file(self, file: Path) -> Iterator[Candidate | Drop]:
        """Yield the examples of one file."""
        rows = read_json(file) if file.suffix == ".json" else read_lines(file)
        for count, found in enumerate(rows, start=1):
            if self.limit is not None and count > self.limit:
                return
            if isinstance(found, Fault):
                yield Drop(f"{file.as_posix()}:{found.line}", found.reason, found.detail, {"start": found.start})
                continue
            line, row = found
            name = f"{file.as_posix()}:{line}"
            try:
                messages, tools = conversation(row)
            except Unreadable as error:
                yield Drop(name, error.reason, error.detail, row)
                continue
            label = row.get("label")
            tags = ["source:chats", *(["tools"] if tools else [])]
            key = name if self.group is None or row.get(self.group) is None else f"{self.group}:{row[self.group]}"
            yield Candidate(
                {
                    "id": name,
                    "messages": list(messages),
                    "tools": tools,
                    "label": None if label is None else str(label),
                    "tags": tags,
                    "sources": [name],
                },
                key,
            )
