"""The documents of a part of a JSON Lines file: read strictly, whatever is no document named with its reason."""

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from src.core.ledger import Drop
from src.core.records import Record
from src.dedup.parts import Part
from src.text.kernels import SLACK
from src.text.scan import ASK, DOCUMENT, FOUND, scan

_SHOWN = 200
_MARK = b"\xef\xbb\xbf"
_NO_KEY = b"\n"  # no line has it, so that the library reads them all
I64 = NDArray[np.int64]


@dataclass(frozen=True)
class Batch:
    """Texts, and where they lie."""

    text: NDArray[np.uint8]
    """UTF-8, and some bytes more."""
    starts: I64
    stops: I64
    rows: I64
    """Number of each in the part: the line, or the row of the table."""
    read: int
    """Lines, or rows, of the part up to here."""
    lines: NDArray[np.int64] | None
    """Where the line of each begins and ends, shape (texts, 2); None for tables."""
    ids: list[str] | None
    """None where the line is the name."""
    scores: list[float] | None


class Scratch(threading.local):
    """Memory that a thread uses again: to ask the system for it anew costs more than to hash what it holds."""

    def __init__(self) -> None:
        self.held: dict[str, NDArray[Any]] = {}

    def get(self, name: str, size: int, kind: Any) -> NDArray[Any]:
        """An array of at least `size`, with what was left in it."""
        found = self.held.get(name)
        if found is None or found.size < size:
            found = self.held[name] = np.empty(size + size // 8, kind)
        return found


_SCRATCH = Scratch()


def read(part: Part) -> NDArray[np.uint8]:
    """The bytes of a part of a JSON Lines file and SLACK zeros, in memory that the thread's next call uses again."""
    size = part.end - part.start
    data = _SCRATCH.get("data", size + SLACK, np.uint8)[: size + SLACK]
    with Path(part.file).open("rb", buffering=0) as stream:
        stream.seek(part.start)
        done = 0
        while done < size and (count := stream.readinto(data[done:size].data)):
            done += count
    data[done:] = 0
    return data


def line_batch(part: Part, column: str, score: str | None) -> Batch:
    """Find the texts of a part; rows that are none are passed over."""
    data = read(part)
    size = len(data) - SLACK
    room = int(np.count_nonzero(data[:size] == 10)) + 2
    begins, starts, stops = (_SCRATCH.get(name, room, np.int64) for name in ("begins", "starts", "stops"))
    kinds = _SCRATCH.get("kinds", room, np.uint8)
    name = np.frombuffer(_NO_KEY if score else column.encode() or _NO_KEY, np.uint8)
    count = scan(data, size, name, _SCRATCH.get("found", FOUND, np.int64), begins, starts, stops, kinds)
    asked, scores = _ask(data, begins, np.flatnonzero(kinds[:count] == ASK), column, score)
    if asked:
        ends = len(data) - SLACK + np.cumsum([len(text) for text in asked.values()])
        for (row, text), end in zip(asked.items(), ends.tolist(), strict=True):
            starts[row], stops[row], kinds[row] = end - len(text), end, DOCUMENT
        data = np.frombuffer(b"".join([data[:size].tobytes(), *asked.values(), bytes(SLACK)]), np.uint8)
    rows = np.flatnonzero(kinds[:count] == DOCUMENT)
    lines = np.stack([begins[rows], begins[rows + 1]], axis=1)
    return Batch(data, starts[rows], stops[rows], rows, count, lines, None, scores if score else None)


def line_of(data: NDArray[np.uint8], begin: int, end: int) -> bytes:
    """A line without its end."""
    return data[begin:end].tobytes().removesuffix(b"\n")


def _ask(data: NDArray[np.uint8], begins: I64, rows: I64, column: str, score: str | None) -> tuple[dict[int, bytes], list[float]]:
    """What the library makes of some lines: the texts of those that are documents, and their scores."""
    texts, scores = {}, []
    for number in rows.tolist():
        row = parse(line_of(data, begins[number], begins[number + 1]), column)
        if isinstance(row, tuple):
            continue
        texts[number] = row[column].encode()
        if score:
            meta = row.get("meta")
            scores.append(number_of(row.get(score, meta.get(score) if isinstance(meta, dict) else None)))
    return texts, scores


def strict(line: bytes) -> Any:
    """What a line holds; a byte order mark is passed over."""
    return orjson.loads(line.removeprefix(_MARK))


def parse(line: bytes, column: str) -> dict[str, Any] | tuple[str, str]:
    """A line's object with its text, or the reason and detail for which it is none; what orjson rejects is rejected."""
    try:
        row = strict(line)
    except orjson.JSONDecodeError as error:
        return ("bad_json", f"column {error.pos + 1}: {error.msg}") if line.strip() else ("", "")
    if not isinstance(row, dict):
        return "not_object", f"a {type(row).__name__}, not an object"
    if not isinstance(row.get(column), str):
        return "no_text", f"{column!r} is {'not there' if column not in row else 'no text'}"
    return row


def number_of(value: Any) -> float:
    """A score as a number; what is none ranks last."""
    try:
        found = float(value)
    except (TypeError, ValueError):
        return -np.inf
    return -np.inf if found != found else found


def record_of(row: dict[str, Any], name: str, column: str) -> Record:
    """A line's object as a record: what it holds besides its text is meta."""
    meta = {key: value for key, value in row.items() if key != column}
    if isinstance(inner := meta.get("meta"), dict):
        del meta["meta"]
        meta |= inner
    return Record(name, row[column], {"source": name} | meta)


def drop_of(line: bytes, name: str, why: tuple[str, str]) -> Drop:
    """The ledger's row for a line that is no document."""
    return Drop(name, *why, {"start": line[:_SHOWN].decode("utf-8", "replace")})
