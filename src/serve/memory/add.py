"""Writes a note into a memory's folder, and nowhere else, whatever its name says."""

import os
import re
import secrets
import stat
import unicodedata
from contextlib import ExitStack, suppress
from pathlib import Path

from src.core.sealing import Seal
from src.serve.beside.answering import Refused
from src.serve.memory.sealed import ENDING, sealed_line

_PART = re.compile(r"[^\W_][\w +.-]{0,79}(?<![ .])")
_DEEPEST = 5
_ENDING = ".md"


def add(folder: Path, name: str, text: str, *, append: bool, largest: int, note: int, seal: Seal | None = None) -> str:
    """Write a markdown file, whole or not at all, or append to one; return its path in the folder.

    No link is followed on the way, so that no name leads out, not even through what others put there.

    Args:
        folder: The memory's.
        name: Path in it, with slashes, that ends in .md.
        text: What to write.
        append: Whether the file may be there already; its text stays then, and this follows.
        largest: Bytes that the file may have.
        note: Bytes that `text` may have.
        seal: Seals it, where there is a key.

    Raises:
        Refused: Where the name is none of a note, the text is empty or too long, or the file is there.
    """
    parts, data = _parts(name), _data(text, note)
    with ExitStack() as closing:
        at = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        closing.callback(os.close, at)
        try:
            for part in parts[:-1]:
                with suppress(FileExistsError):
                    os.mkdir(part, dir_fd=at)
                at = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=at)
                closing.callback(os.close, at)
            other = parts[-1] + ("" if seal else ENDING)
            if os.access(other, os.F_OK, dir_fd=at, follow_symlinks=False):
                raise Refused(
                    "exists", f"{'/'.join(parts)} is there {'readable' if seal else 'sealed'}; mlx memory seal and unseal change that"
                )
            file, data = (parts[-1] + ENDING, sealed_line(seal, data.decode())) if seal else (parts[-1], data)
            there = append and _appended(at, file, data, largest)
            if not there:
                _created(at, file, data)
        except FileExistsError:
            raise Refused("exists", f"{'/'.join(parts)} is there already; append: true adds to it") from None
        except OSError as error:
            raise Refused("unwritable", f"{'/'.join(parts)}: {error.strerror}") from None
    return "/".join(parts)


def _parts(name: str) -> list[str]:
    parts = unicodedata.normalize("NFC", name).split("/")
    if len(parts) > _DEEPEST or not all(_PART.fullmatch(part) for part in parts) or not parts[-1].endswith(_ENDING):
        raise Refused(
            "bad_name", f"a file is named by letters, digits, spaces and _ + . -, at most {_DEEPEST} levels deep, and ends in {_ENDING}"
        )
    return parts


def _data(text: str, note: int) -> bytes:
    data = (text.replace("\r\n", "\n").replace("\0", "").strip() + "\n").encode("utf-8", "replace")
    if not text.strip():
        raise Refused("empty", "the text is empty")
    if len(data) > note:
        raise Refused("too_large", f"the text has {len(data):,} bytes, more than {note:,}")
    return data


def _created(folder: int, name: str, data: bytes) -> None:
    beside = f".{secrets.token_hex(8)}"  # hidden, so that no reader takes half of it
    file = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644, dir_fd=folder)
    try:
        with os.fdopen(file, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.link(beside, name, src_dir_fd=folder, dst_dir_fd=folder)  # fails where the name is taken, by a link too
    finally:
        os.unlink(beside, dir_fd=folder)


def _appended(folder: int, name: str, data: bytes, largest: int) -> bool:
    """Append to a file; False where there is none."""
    try:
        file = os.open(name, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW, dir_fd=folder)
    except FileNotFoundError:
        return False
    with os.fdopen(file, "ab", buffering=0) as stream:
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:  # a second name may lie anywhere
            raise Refused("unwritable", f"{name} is no plain file")
        if found.st_size + len(data) + 1 > largest:
            raise Refused("too_large", f"{name} would have more than {largest:,} bytes")
        if (stream.write(b"\n" + data) or 0) < len(data) + 1:
            os.ftruncate(file, found.st_size)
            raise OSError(28, "the disk is full")
        os.fsync(file)
    return True
