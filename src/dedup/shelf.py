"""The folder through which tasks hand each other files: a path, or any URL that fsspec knows."""

import shutil
import tempfile
import uuid
from collections.abc import Callable
from functools import cache, lru_cache
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO
from urllib.parse import unquote, urlsplit

from src.core.files import digest

_FETCHES = [Lock() for _ in range(64)]
"""One for each file that is being fetched; two files seldom share one."""


@lru_cache(1 << 16)
def _joined(folder: str, name: str) -> Path:
    """The same object each time: to take a path apart is slow, and a part's is asked for in every band."""
    return Path(folder, name)


@cache
def _held() -> "tempfile.TemporaryDirectory[str]":
    return tempfile.TemporaryDirectory(prefix="mlx-")


def _copies() -> Path:
    """This process's own folder for copies of what lies elsewhere; it goes with the process."""
    return Path(_held().name)


class Shelf:
    """Files that are there whole or not at all; picklable, so that it travels to other machines."""

    def __init__(self, place: str) -> None:
        if place.startswith("file://"):
            place = unquote(urlsplit(place).path)
        self.place = place.rstrip("/")
        self.is_remote = "://" in place
        if self.is_remote:
            system, folder = self._system()
            system.makedirs(folder, exist_ok=True)
        else:
            Path(place).mkdir(parents=True, exist_ok=True)

    def has(self, name: str) -> bool:
        """Whether there is such a file."""
        if not self.is_remote:
            return Path(self.place, name).exists()
        system, folder = self._system()
        return bool(system.exists(f"{folder}/{name}"))

    def save(self, name: str, write: Callable[[BinaryIO], None]) -> None:
        """Write a file under a name of its own and rename it, so that the same task may run twice at once."""
        folder = Path(tempfile.gettempdir()) if self.is_remote else Path(self.place)
        part = folder / f".{name}.{uuid.uuid4().hex}.part"
        try:
            with part.open("wb") as stream:
                write(stream)
            if self.is_remote:
                system, place = self._system()
                system.put_file(str(part), f"{place}/{name}")
            else:
                part.replace(Path(self.place, name))
        finally:
            part.unlink(missing_ok=True)

    def path(self, name: str) -> Path:
        """The file on this machine, fetched first where the shelf is elsewhere."""
        if not self.is_remote:
            return _joined(self.place, name)
        system, place = self._system()
        # by what the store says of the file, so that a copy is never taken for that of one that was written again
        found = _copies() / digest([self.place, name, system.ukey(f"{place}/{name}")])
        # fetched once, by one thread: the others would fetch it again, and readers of a file in memory:// share its position
        with _FETCHES[hash(found.name) % len(_FETCHES)]:
            if not found.exists():
                part = found.with_name(f"{found.name}.{uuid.uuid4().hex}.part")
                system.get_file(f"{place}/{name}", str(part))
                part.replace(found)
        return found

    def remove(self, name: str) -> None:
        """Take a file away."""
        if not self.is_remote:
            Path(self.place, name).unlink(missing_ok=True)
            return
        system, place = self._system()
        if system.exists(f"{place}/{name}"):
            system.rm_file(f"{place}/{name}")

    def clear(self) -> None:
        """Take everything away."""
        if self.is_remote:
            system, place = self._system()
            system.rm(place, recursive=True)
        else:
            shutil.rmtree(self.place, ignore_errors=True)

    def _system(self) -> tuple[Any, str]:
        from fsspec.core import url_to_fs

        system, folder = url_to_fs(self.place)
        return system, folder
