"""How bytes of unknown origin become text, and text becomes storable."""

import codecs
from pathlib import Path
from typing import IO

from src.text.opened import TruncatedError, opened

_BOMS = (  # UTF-32 first: its little-endian mark begins with that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_CONTROL = bytes(set(range(32)) - set(b"\t\n\r\f\x0b\x1a\x1b")) + b"\x7f"


def marked(data: bytes) -> str | None:
    """Return the encoding that a byte order mark at the start of `data` names, or None."""
    return next((encoding for mark, encoding in _BOMS if data.startswith(mark)), None)


def decode(data: bytes) -> tuple[str, str]:
    """Decode by byte order mark, else strict UTF-8, else Windows-1252, else Latin-1; what a header declares is often wrong.

    Returns:
        The text, without a byte order mark, and the name of the encoding that fitted.

    Raises:
        UnicodeDecodeError: Where a byte order mark promises an encoding that the bytes break.
    """
    if encoding := marked(data):
        return data.decode(encoding), encoding
    for encoding in ("utf-8", "cp1252"):
        try:
            return data.decode(encoding), encoding
        except UnicodeDecodeError:
            continue
    return data.decode("latin-1"), "latin-1"


def is_binary(data: bytes) -> bool:
    """Whether bytes called text are none: a NUL where no UTF-16 or UTF-32 mark explains it, or over 2 % control bytes."""
    if marked(data) in ("utf-16", "utf-32"):
        return False
    return b"\0" in data or (len(data) - len(data.translate(None, _CONTROL))) * 50 > len(data)


def mended(text: str) -> str:
    """Join surrogate pairs and put U+FFFD for lone surrogates, which no UTF-8 file can hold."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def sniff(path: Path) -> str:
    """Name the encoding of a file as `decode` would, reading it in chunks."""
    with opened(path) as stream:
        if encoding := marked(_start(stream)):
            return encoding
    for encoding in ("utf-8", "cp1252"):
        with opened(path) as stream:
            if _fits(stream, encoding):
                return encoding
    return "latin-1"


def _start(stream: IO[bytes]) -> bytes:
    try:
        return stream.read(4)
    except TruncatedError:
        return b""


def _fits(stream: IO[bytes], encoding: str) -> bool:
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        while chunk := stream.read(1 << 20):
            decoder.decode(chunk)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    except TruncatedError:  # as far as it goes
        return True
    return True
