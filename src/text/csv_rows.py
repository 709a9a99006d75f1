"""Reading CSV that others wrote: its delimiter found out, quoted newlines understood, memory bounded."""

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from src.text.encoding import sniff
from src.text.jsonl import MAX_LINE, Fault
from src.text.opened import TruncatedError, opened_text

DELIMITERS = ",;\t|"


def read_csv(
    path: Path, *, delimiter: str = "", wanted: Iterable[str] = (), max_line: int = MAX_LINE
) -> Iterator[tuple[int, dict[str, Any]] | Fault]:
    """Read rows under a header line.

    Args:
        path: A file in any encoding that `decode` understands.
        delimiter: What stands between cells; found out where empty.
        wanted: Column names that the header should have: they tell which delimiter is right.
        max_line: Characters above which a line or a cell is passed over.

    Yields:
        The line that a row begins on, from 1, and the row; or a fault.
    """
    csv.field_size_limit(max_line)
    encoding = sniff(path)
    try:
        delimiter = delimiter or _delimiter(path, encoding, set(wanted))
        with opened_text(path, encoding, errors="replace") as stream:
            yield from _rows(_Lines(stream, max_line), delimiter)
    except TruncatedError as error:
        yield Fault(0, "truncated", str(error))


def _rows(lines: "_Lines", delimiter: str) -> Iterator[tuple[int, dict[str, Any]] | Fault]:
    reader = csv.reader(lines, delimiter=delimiter)
    header: list[str] | None = None
    while (found := _next(reader, lines)) is not None:
        line, cells = found
        if isinstance(cells, Fault):
            yield cells
        elif header is None:
            header = [name.strip() for name in cells] or None
        elif cells:
            yield _row(line, header, cells)


class _Lines:
    """The lines of a file for the CSV reader, which goes on with the next one after an error."""

    def __init__(self, stream: IO[str], limit: int) -> None:
        self.stream = stream
        self.limit = limit
        self.ended = False

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = self.stream.readline(self.limit + 1)
        if not line:
            self.ended = True
            raise StopIteration
        if len(line) > self.limit and not line.endswith(("\n", "\r")):
            while (more := self.stream.readline(1 << 20)) and not more.endswith(("\n", "\r")):
                pass
            raise csv.Error(f"line over {self.limit:,} characters")
        return line


def _next(reader: Any, lines: _Lines) -> tuple[int, list[str] | Fault] | None:
    line = reader.line_num + 1
    try:
        cells = next(reader)
    except StopIteration:
        return None
    except csv.Error as error:
        return line, Fault(line, "line_too_long", str(error))
    if lines.ended:  # more was asked for, in the middle of a row
        return line, Fault(line, "truncated", "the file ends inside a quoted cell", " | ".join(cells)[:200])
    return line, cells


def _row(line: int, header: list[str], cells: list[str]) -> tuple[int, dict[str, Any]] | Fault:
    if any(cells[len(header) :]):
        detail = f"{len(cells)} cells under {len(header)} columns"
        return Fault(line, "bad_row", detail, " | ".join(cells)[:200])
    return line, dict(zip(header, [*cells, *[""] * (len(header) - len(cells))], strict=False))


def _delimiter(path: Path, encoding: str, wanted: set[str]) -> str:
    """Take the delimiter whose header has the wanted columns, else the most columns."""
    with opened_text(path, encoding, errors="replace") as stream:
        first = stream.readline(1 << 16)

    def fit(delimiter: str) -> tuple[int, int]:
        names = [name.strip() for name in next(csv.reader([first], delimiter=delimiter), [])]
        return len(wanted.intersection(names)), len(names)

    return max(DELIMITERS, key=fit)
