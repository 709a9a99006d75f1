"""What is known of a part's documents, in one file: checked when it is used again, read in slices, searched in place."""

import mmap
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import orjson
from numpy.typing import NDArray

from src.text.kernels import checksum

_MAGIC = b"mlx sketch 2\n"
_FRONT = len(_MAGIC) + 16  # then the size of the head and its checksum
_ALIGN = 64
Array = NDArray[Any]


class SpillError(Exception):
    """A file that is short, damaged or of another kind."""


def write_spill(stream: BinaryIO, head: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
    """Write a head and arrays, each with its checksum."""
    place = 0
    sections = {}
    for name, array in arrays.items():
        sections[name] = [place, str(array.dtype), list(array.shape), f"{_sum(array):016x}"]
        place += -(-array.nbytes // _ALIGN) * _ALIGN
    text = orjson.dumps({**head, "sections": sections, "size": place})
    front = _MAGIC + len(text).to_bytes(8, "little") + _head_sum(text)
    stream.write(front + text + bytes(-(_FRONT + len(text)) % _ALIGN))
    for array in arrays.values():
        stream.write(np.ascontiguousarray(array).data)
        stream.write(bytes(-array.nbytes % _ALIGN))


def _head_sum(text: bytes) -> bytes:
    return _sum(np.frombuffer(text, np.uint8)).to_bytes(8, "little")


def _sum(array: Array) -> int:
    return int(checksum(np.ascontiguousarray(array).reshape(-1).view(np.uint8)))


@dataclass(frozen=True)
class Spill:
    """A file of sketches, open for reading."""

    path: Path
    head: dict[str, Any]
    begin: int
    """Where the first section begins."""

    @classmethod
    def open(cls, path: Path) -> "Spill":
        """Read the head; fails with SpillError where the file is no spill or shorter than it says."""
        with path.open("rb") as stream:
            if stream.read(len(_MAGIC)) != _MAGIC:
                raise SpillError(f"{path}: no sketches of this version")
            total = os.fstat(stream.fileno()).st_size
            size, wanted = int.from_bytes(stream.read(8), "little"), stream.read(8)
            text = stream.read(min(size, total))
        if _head_sum(text) != wanted:
            raise SpillError(f"{path}: its head is damaged")
        head, begin = orjson.loads(text), -(-(_FRONT + size) // _ALIGN) * _ALIGN
        if total != begin + head["size"]:
            raise SpillError(f"{path}: {total} bytes in place of {begin + head['size']}")
        return cls(path, head, begin)

    def check(self) -> None:
        """Compare every section with its checksum."""
        for name, (_, _, _, wanted) in self.head["sections"].items():
            if f"{_sum(self.read(name)):016x}" != wanted:
                raise SpillError(f"{self.path}: {name} is damaged")

    def read(self, name: str) -> Array:
        """A section, into memory."""
        place, kind, shape, _ = self.head["sections"][name]
        count = int(np.prod(shape))
        return np.fromfile(self.path, np.dtype(kind), count, offset=self.begin + place).reshape(shape)

    def row(self, name: str, number: int) -> Array:
        """One row of a section, into memory."""
        place, kind, shape, _ = self.head["sections"][name]
        width = int(np.prod(shape[1:]))
        offset = self.begin + place + number * width * np.dtype(kind).itemsize
        return np.fromfile(self.path, np.dtype(kind), width, offset=offset)

    @cached_property
    def area(self) -> mmap.mmap:
        """The file in memory, mapped once; for looking up single places, so that nothing is read ahead."""
        with self.path.open("rb") as stream:
            area = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        if hasattr(mmap, "MADV_RANDOM"):
            area.madvise(mmap.MADV_RANDOM)
        return area

    def mapped(self, name: str) -> Array:
        """A section where it lies."""
        place, kind, shape, _ = self.head["sections"][name]
        count = int(np.prod(shape))
        if not count:
            return np.zeros(shape, np.dtype(kind))
        return np.frombuffer(self.area, np.dtype(kind), count, self.begin + place).reshape(shape)


def opened(path: Path) -> Spill:
    """Open a finished file, once in a process."""
    stat = path.stat()
    return _opened(path, stat.st_ino, stat.st_mtime_ns)


@lru_cache(4096)
def _opened(path: Path, inode: int, changed: int) -> Spill:
    return Spill.open(path)


def allow_files(count: int) -> None:
    """Raise the limit of open files, which each mapped one counts as, to what so many parts need."""
    try:
        import resource
    except ImportError:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + 512
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))
