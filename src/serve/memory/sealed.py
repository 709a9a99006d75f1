"""How a memory lies on the disk where there is a key: notes as sealed lines, vectors in a folder that no disk keeps."""

import logging
import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from src.core.errors import MlxError
from src.core.sealing import Seal, SealError

LOG = logging.getLogger("mlx.memory")
ENDING = ".sealed"
"""Follows .md in the name of a note whose lines are sealed; it is cited without."""
_IN_MEMORY = Path("/dev/shm")  # noqa: S108 (a folder of its own in it, for nobody else's eyes)
_PREFIX = "mlx-memory-"
_STORES = ("arango", "chroma", "faiss", "numpy", "qdrant")
_NOTE = "vectors.at"
"""File in the index that says where the vectors lie, so that what a kill left there is taken away."""


def sealed_line(seal: Seal, text: str) -> bytes:
    """One piece of a note as it lies on the disk."""
    return (seal.close({"text": text}) + "\n").encode()


def opened_note(seal: Seal | None, data: bytes) -> str:
    """The text of a sealed note.

    Raises:
        SealError: Where there is no key, another one, or something changed.
    """
    if seal is None:
        raise SealError("sealed, and there is no key")
    pieces = [seal.open(line).get("text") for line in data.decode("utf-8", "replace").splitlines() if line.strip()]
    return "\n".join(str(piece) for piece in pieces)


def sealed_file(path: Path, seal: Seal) -> Path:
    """Put a sealed note in place of a readable one; return its path.

    Raises:
        MlxError: Where there is no such file, or a sealed one is there already.
    """
    made = path.with_name(path.name + ENDING)
    return _replaced(path, made, lambda data: sealed_line(seal, data.decode("utf-8-sig", "replace")))


def unsealed_file(path: Path, seal: Seal) -> Path:
    """Put a readable note in place of a sealed one; return its path.

    Raises:
        MlxError: Where there is no such file, it is readable already, or the key is not the one.
    """
    try:
        return _replaced(path.with_name(path.name + ENDING), path, lambda data: opened_note(seal, data).encode())
    except SealError as error:
        raise MlxError(f"{path.name}: {error}", "set the key that it was sealed with") from None


def _replaced(old: Path, new: Path, made: Callable[[bytes], bytes]) -> Path:
    if new.exists():
        raise MlxError(f"{new} is there already", "move one of them away")
    try:
        data = made(old.read_bytes())
    except FileNotFoundError:
        raise MlxError(f"there is no {old}", f"see what lies in {old.parent}") from None
    beside = new.with_name(f".{new.name}.part")
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    beside.replace(new)
    old.unlink()
    return new


def clear(index: Path, *kept: str) -> None:
    """Take vectors away, and nothing else that may lie beside them: stores, and files of these kinds (`embedded`, `sealed`)."""
    for path in index.iterdir() if index.is_dir() else ():
        kind = path.name.partition("-")[0]
        if path.is_dir() and kind in _STORES:
            shutil.rmtree(path)
        elif kind in kept and ".sqlite" in path.name:
            path.unlink()


class Hidden:
    """A folder for vectors that lies in main memory where there is such a place, and is gone once it is closed.

    Args:
        index: Folder of the memory's vectors on the disk: what lies there unsealed, or was left by a kill, is taken away.
    """

    def __init__(self, index: Path) -> None:
        self._note = index / _NOTE
        self._forget(index)
        beyond_disk = os.access(_IN_MEMORY, os.W_OK)
        self.folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=_IN_MEMORY if beyond_disk else None))
        self._note.write_text(str(self.folder), encoding="utf-8")
        if not beyond_disk:
            LOG.warning("memory: there is no %s: vectors lie readable in %s until the memory is closed", _IN_MEMORY, self.folder)

    def close(self) -> None:
        """Take it away."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self._note.unlink(missing_ok=True)

    def _forget(self, index: Path) -> None:
        with suppress(OSError):
            left = Path(self._note.read_text(encoding="utf-8"))
            if left.name.startswith(_PREFIX) and left.lstat().st_uid == os.getuid():
                shutil.rmtree(left)
        clear(index, "embedded")
