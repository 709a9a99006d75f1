"""Reading JSON lines that others wrote: line by line in bounded memory, what is wrong as a fault beside what is right."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from src.text.encoding import decode, marked
from src.text.opened import TruncatedError, opened, opened_text

MAX_LINE = 16 << 20
_SHOWN = 200
_DECODER = json.JSONDecoder(parse_constant=lambda _: None)


@dataclass(frozen=True, slots=True)
class Fault:
    """A line that is no row."""

    line: int
    reason: str
    """`bad_json`, `not_object`, `line_too_long`, `undecodable`, `truncated` (the file ends early)."""
    detail: str
    start: str = ""
    """The first characters of the line."""


def read_lines(path: Path, *, max_line: int = MAX_LINE) -> Iterator[tuple[int, dict[str, Any]] | Fault]:
    """Read one JSON object a line; empty lines are skipped, NaN and infinities become null.

    Args:
        path: A file in UTF-8, or in UTF-16 or UTF-32 with its mark; single lines in Windows-1252 are understood.
        max_line: Bytes (characters in UTF-16 and UTF-32) above which a line is passed over without being held in memory.

    Yields:
        The line's number, from 1, and its row; or a fault.

    Raises:
        OSError: Where the file cannot be read.
    """
    try:
        with opened(path) as stream:
            encoding = marked(stream.read(4)) or ""
        wide = encoding in ("utf-16", "utf-32")
        with opened_text(path, encoding, newline="\n") if wide else opened(path) as stream:
            for number, line in _lines(stream, max_line):
                if line is None:
                    yield Fault(number, "line_too_long", f"over {max_line:,} bytes")
                elif text := (line if isinstance(line, str) else _decoded(line)).strip().removeprefix("\ufeff"):
                    yield parse(text, number)
    except UnicodeDecodeError as error:
        yield Fault(0, "undecodable", str(error))
    except TruncatedError as error:
        yield Fault(0, "truncated", str(error))


def parse(text: str, line: int = 0) -> tuple[int, dict[str, Any]] | Fault:
    """Read one line's JSON object, or say what is wrong with it."""
    try:
        row = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        return Fault(line, "bad_json", f"column {error.pos + 1}: {error.msg}", text[:_SHOWN])
    except (RecursionError, ValueError) as error:
        return Fault(line, "bad_json", f"column 1: {error}", text[:_SHOWN])
    return (line, row) if isinstance(row, dict) else Fault(line, "not_object", f"a {type(row).__name__}, not an object", text[:_SHOWN])


def _decoded(line: bytes) -> str:
    try:
        return decode(line)[0]
    except UnicodeDecodeError:  # a UTF-8 mark before a line that is none
        return line.decode("cp1252", "replace").removeprefix("ï»¿")


def _lines(stream: IO[Any], limit: int) -> Iterator[tuple[int, Any]]:
    """Number the lines; one over the limit comes as None, read through in chunks."""
    number = 0
    while line := stream.readline(limit + 1):
        number += 1
        newline = "\n" if isinstance(line, str) else b"\n"
        if len(line) <= limit or line.endswith(newline):
            yield number, line
            continue
        while (more := stream.readline(1 << 20)) and not more.endswith(newline):
            pass
        yield number, None
