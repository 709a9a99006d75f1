"""Reading the rows of a JSON document, a list of objects or one object, without holding the whole file."""

import codecs
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from src.text.encoding import sniff
from src.text.jsonl import MAX_LINE, Fault
from src.text.opened import TruncatedError, opened

_CHUNK = 1 << 16
_SPACE = re.compile(r"\s*")
_BETWEEN = re.compile(r"[\s,]*")
_DECODER = json.JSONDecoder(parse_constant=lambda _: None)


def read_json(path: Path, *, max_row: int = MAX_LINE) -> Iterator[tuple[int, dict[str, Any]] | Fault]:
    """Read the objects of a JSON list; objects that merely follow each other are understood too.

    Args:
        path: A file in any encoding that `decode` understands.
        max_row: Characters above which a row ends the reading.

    Yields:
        The row's number, from 1, and the row; or a fault. Nothing follows a fault in the JSON itself.
    """
    encoding = sniff(path)
    try:
        with opened(path) as stream:
            yield from _values(_Window(stream, encoding, max_row))
    except TruncatedError as error:
        yield Fault(0, "truncated", str(error))


def _values(window: "_Window") -> Iterator[tuple[int, dict[str, Any]] | Fault]:
    window.skip(_SPACE)
    is_list = window.text.startswith("[", window.at)
    window.at += is_list
    number = 0
    while window.skip(_BETWEEN) and not window.text.startswith("]", window.at):
        number += 1
        found = window.value(number)
        yield found
        if isinstance(found, Fault) and found.reason != "not_object":
            return
    if is_list and not window.text.startswith("]", window.at):
        yield Fault(number + 1, "bad_json", "the list is not closed")


class _Window:
    """The part of a file that is looked at."""

    def __init__(self, stream: IO[bytes], encoding: str, limit: int) -> None:
        self.stream = stream
        self.decoder = codecs.getincrementaldecoder(encoding)("replace")
        self.limit = limit
        self.text = ""
        self.at = 0

    def more(self, size: int = _CHUNK) -> bool:
        """Take in some more; unlike a text stream's, this loses nothing that came before the place where a file breaks."""
        data = self.stream.read1(size)  # type: ignore[attr-defined]
        self.text, self.at = self.text[self.at :] + self.decoder.decode(data, final=not data), 0
        return bool(data)

    def skip(self, pattern: re.Pattern[str]) -> bool:
        """Go past what `pattern` matches; whether anything is left."""
        while (match := pattern.match(self.text, self.at)) and match.end() == len(self.text):
            self.at = match.end()
            if not self.more():
                return False
        self.at = match.end() if match else self.at
        return True

    def value(self, number: int) -> tuple[int, dict[str, Any]] | Fault:
        """Read the value that begins here, taking in as much text as that needs."""
        while True:
            try:
                row, end = _DECODER.raw_decode(self.text, self.at)
            except (ValueError, RecursionError) as error:
                held = len(self.text) - self.at
                if held > self.limit:
                    return Fault(number, "line_too_long", f"a row over {self.limit:,} characters")
                if isinstance(error, RecursionError) or not self.more(max(_CHUNK, held)):
                    return Fault(number, "bad_json", f"row {number}: {error}", self.text[self.at : self.at + 200])
                continue
            self.at = end
            if isinstance(row, dict):
                return number, row
            return Fault(number, "not_object", f"a {type(row).__name__}, not an object", str(row)[:200])
