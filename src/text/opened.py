"""Opening files that others wrote, compressed or not, as a stream of their bytes in bounded memory."""

import gzip
import io
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, cast

PACKED = (".gz", ".zst", ".zstd")
_LONGEST_WINDOW = 1 << 31  # what `zstd --long=31` makes, as in the Reddit dumps
_CHUNK = 1 << 17


class TruncatedError(Exception):
    """A compressed file that ends early or is damaged; what came before it has been read."""


def kind(path: Path) -> str:
    """The suffix that says what a file holds, in small letters: `.jsonl` of `a.jsonl.gz`."""
    return Path(path.stem).suffix.lower() if path.suffix.lower() in PACKED else path.suffix.lower()


def opened(path: Path) -> IO[bytes]:
    """Open a file for reading, decompressed as its name says (.gz, .zst).

    Raises:
        OSError: Where it cannot be read.
        TruncatedError: On reading, where a compressed file is not whole.
    """
    suffix = path.suffix.lower()
    if suffix not in PACKED:
        return path.open("rb")
    raw = path.open("rb")
    stream: Any = gzip.GzipFile(fileobj=raw) if suffix == ".gz" else _Zstd(raw)
    return io.BufferedReader(cast(io.RawIOBase, _Checked(stream, raw)), _CHUNK)


def opened_text(path: Path, encoding: str, *, errors: str = "strict", newline: str = "") -> IO[str]:
    """The same as text."""
    return io.TextIOWrapper(cast(io.BufferedReader, opened(path)), encoding=encoding, errors=errors, newline=newline)


class _Zstd:
    """A decompressing stream that notices where a file ends early, which the library's own does not.

    A frame of ours is read behind the file's last one: where its content does not come out, the last one was not whole.
    """

    _END = b"the end is whole"

    def __init__(self, raw: IO[bytes]) -> None:
        import zstandard

        self.parts = [raw, io.BytesIO(zstandard.ZstdCompressor(write_checksum=True).compress(self._END))]
        joined = cast(IO[bytes], _Joined(self.parts))
        self.stream = zstandard.ZstdDecompressor(max_window_size=_LONGEST_WINDOW).stream_reader(joined, read_across_frames=True)
        self.held = b""
        self.error: Exception | None = None

    def read1(self, size: int) -> bytes:
        while not self.error and len(self.held) <= len(self._END):
            try:
                if not (more := self.stream.read1(size)):
                    self.error = None if self.held == self._END else EOFError("the file ends before its last frame does")
                    break
                self.held += more
            except Exception as error:  # what came before is given out first
                self.error = error
        if self.error and not self.held:
            raise self.error
        cut = min(size, len(self.held) - (0 if self.error else len(self._END)))
        found, self.held = self.held[:cut], self.held[cut:]
        return found


class _Joined:
    """Streams one after another."""

    def __init__(self, parts: list[IO[bytes]]) -> None:
        self.parts = parts

    def read(self, size: int) -> bytes:
        return next((data for part in self.parts if (data := part.read(size))), b"")


class _Checked(io.RawIOBase):
    """A decompressing stream whose troubles are one error."""

    def __init__(self, stream: Any, raw: IO[bytes]) -> None:
        self.stream = stream
        self.raw = raw
        self.name = raw.name

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def readinto(self, buffer: Any) -> int:
        data = self._safely(lambda: self.stream.read1(len(buffer)))
        buffer[: len(data)] = data
        return len(data)

    def _safely(self, read: Callable[[], bytes]) -> bytes:
        try:
            return read()
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise TruncatedError(str(error)) from None
        except Exception as error:
            if type(error).__module__.startswith("zstandard"):
                raise TruncatedError(str(error)) from None
            raise

    def close(self) -> None:
        if not self.closed:
            self.raw.close()
        super().close()
