"""Reading a whole file as one text, or saying in a fixed word why it is none."""

from dataclasses import dataclass
from pathlib import Path

from src.text.encoding import decode, is_binary
from src.text.opened import TruncatedError, opened


@dataclass(frozen=True, slots=True)
class Unread:
    """Why a file is no text."""

    reason: str
    """`empty`, `too_large`, `binary`, `undecodable` or `truncated`."""
    detail: str = ""


def read_text(path: Path, *, max_mb: int) -> str | Unread:
    """Return the file's text, line ends made one kind.

    Raises:
        OSError: Where the file cannot be read.
    """
    if (size := path.stat().st_size) > max_mb << 20:
        return Unread("too_large", f"{size:,} bytes, over {max_mb} MB")
    try:
        with opened(path) as stream:
            data = stream.read((max_mb << 20) + 1)
    except TruncatedError as error:
        return Unread("truncated", str(error))
    if len(data) > max_mb << 20:
        return Unread("too_large", f"over {max_mb} MB once decompressed")
    if is_binary(data):
        return Unread("binary", "holds NUL or many control bytes")
    try:
        text, _ = decode(data)
    except UnicodeDecodeError as error:
        return Unread("undecodable", str(error))
    return text.replace("\r\n", "\n").replace("\r", "\n") if text.strip() else Unread("empty")
