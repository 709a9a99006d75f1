"""Files that are whole or not there: atomic writes, content fingerprints, JSON lines."""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

_ENCODER = json.JSONEncoder(ensure_ascii=False, default=str)


@contextmanager
def atomic(path: Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Open a temporary file beside `path`; it takes the name once the block ends without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.part")
    text = {} if "b" in mode else {"encoding": "utf-8", "newline": "\n"}
    try:
        with temporary.open(mode, **text) as stream:  # type: ignore[call-overload]
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Write `text` whole or not at all."""
    with atomic(path) as stream:
        stream.write(text)


def write_jsonl(path: Path, rows: Iterable[Any]) -> int:
    """Write one JSON object a line; return how many."""
    count = 0
    with atomic(path) as stream:
        for row in rows:
            stream.write(to_json(row) + "\n")
            count += 1
    return count


def to_json(value: Any) -> str:
    """One line of JSON, non-ASCII kept readable; lone surrogates, which UTF-8 cannot hold, escaped."""
    text = _ENCODER.encode(value)
    return text if text.isascii() or _encodable(text) else json.dumps(value, default=str)


def json_line(value: Any) -> bytes:
    """One line of JSON as bytes, ten times as fast as `to_json` and in its compact form; what that cannot hold goes the slow way."""
    import orjson  # here, since what starts light imports this module

    try:
        return orjson.dumps(value, default=str, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:
        return to_json(value).encode() + b"\n"


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """Read JSON lines that this program wrote; `src.text` reads those of others."""
    with path.open(encoding="utf-8") as stream:
        for line in stream:
            yield json.loads(line)


def sha256(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digest(value: Any) -> str:
    """Sixteen hex digits that stand for a JSON value."""
    text = json.dumps(value, sort_keys=True, default=str, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def stat_fingerprint(paths: Iterable[Path]) -> str:
    """Fingerprint of outside files by name, size and time of change: cheap enough to ask at every start."""
    marks = []
    for path in sorted(_files(paths)):
        stat = path.stat()
        marks.append([path.as_posix(), stat.st_size, stat.st_mtime_ns])
    return digest(marks)


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            yield from (each for each in path.rglob("*") if each.is_file())
        elif path.exists():
            yield path
