"""How the input is cut into parts, a task each: runs of lines of a JSON Lines file, row groups of a table."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from src.core.errors import MlxError
from src.core.files import digest
from src.core.run import Upstream

JSONL = {".jsonl", ".ndjson"}


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of one input file."""

    path: str
    """As given: ids of lines begin with it."""
    kind: Literal["jsonl", "table"]
    start: int
    """First byte, or first row group."""
    end: int
    """The one after the last."""
    fingerprint: str
    """Of the whole input."""
    file: str
    """The path in full: a worker may stand in another folder."""

    @property
    def name(self) -> str:
        """Stands for the part's content."""
        return digest([self.path, self.start, self.end, self.fingerprint])


def cut(inputs: Sequence[Upstream], size: int) -> list[Part]:
    """Cut inputs into parts of about `size` bytes, in their order."""
    return [part for each in inputs for part in _cut(each, size)]


def _cut(upstream: Upstream, size: int) -> Iterator[Part]:
    path = upstream.path
    if path.is_file() and path.suffix in JSONL:
        for start, end in _lines(path, size):
            yield Part(path.as_posix(), "jsonl", start, end, upstream.fingerprint, str(path.absolute()))
        return
    if path.is_file() and path.suffix != ".parquet":
        raise MlxError(
            f"{path}: neither JSON Lines nor Parquet", "give dedup.input files that end in .jsonl or .parquet, or a stage's folder"
        )
    from src.core.tables import table_file

    file = table_file(path)
    for start, end in _groups(file, size):
        yield Part(file.as_posix(), "table", start, end, upstream.fingerprint, str(file.absolute()))


def _lines(path: Path, size: int) -> Iterator[tuple[int, int]]:
    total = path.stat().st_size
    start = 0
    with path.open("rb") as stream:
        while start < total:
            stream.seek(min(start + size, total) - 1)
            while (line := stream.readline(1 << 20)) and not line.endswith(b"\n"):
                pass
            yield start, stream.tell()
            start = stream.tell()


def _groups(path: Path, size: int) -> Iterator[tuple[int, int]]:
    from src.core.tables import open_records

    with open_records(path) as table:
        groups = [table.metadata.row_group(number).total_byte_size for number in range(table.num_row_groups)]
    start = weight = 0
    for number, each in enumerate(groups):
        weight += each
        if weight >= size:
            yield start, number + 1
            start, weight = number + 1, 0
    if start < len(groups):
        yield start, len(groups)
