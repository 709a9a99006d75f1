"""Reads the markdown files of a memory, again only where one changed."""

import os
from dataclasses import dataclass
from pathlib import Path

from src.core.sealing import Seal, SealError
from src.serve.memory.sealed import ENDING, opened_note

_ENDINGS = (".md", ".markdown", f".md{ENDING}")


@dataclass(frozen=True, slots=True)
class Read:
    """What was found."""

    texts: dict[str, str]
    """By path in the folder, with slashes, in alphabetical order."""
    left_out: list[str]
    """File and reason, a line each."""


class Files:
    """The markdown files of a folder and those below it; links, which may lead out of it, and hidden ones are none.

    Args:
        folder: Where they lie.
        largest: Bytes beyond which a file is left out.
        seal: Opens notes that are sealed.
    """

    def __init__(self, folder: Path, largest: int, seal: Seal | None = None) -> None:
        self.folder = folder
        self.largest = largest
        self.seal = seal
        self.seen: dict[str, tuple[tuple[int, int, int], str]] = {}

    def read(self) -> Read:
        """Read what is there now."""
        left_out: list[str] = []
        seen: dict[str, tuple[tuple[int, int, int], str]] = {}
        for path in self._paths():
            name = path.relative_to(self.folder).as_posix().removesuffix(ENDING)
            try:
                stat = path.stat()
                mark = (stat.st_size, stat.st_mtime_ns, stat.st_ino)
                if name in seen:
                    left_out.append(f"{name}{ENDING}: {name} is there too")
                elif stat.st_size > self.largest:
                    left_out.append(f"{name} has {stat.st_size:,} bytes, more than max_file_mb allows")
                elif name in self.seen and self.seen[name][0] == mark:
                    seen[name] = self.seen[name]
                else:
                    seen[name] = mark, self._text(path)
            except SealError as error:
                left_out.append(f"{name}: {error}")
            except OSError as error:
                left_out.append(f"{name}: {error.strerror}")
        self.seen = seen
        return Read({name: text for name, (_, text) in seen.items()}, left_out)

    def _text(self, path: Path) -> str:
        data = path.read_bytes()
        return opened_note(self.seal, data) if path.name.endswith(ENDING) else data.decode("utf-8-sig", "replace")

    def _paths(self) -> list[Path]:
        found = []
        for folder, below, names in os.walk(self.folder):
            below[:] = [name for name in below if not name.startswith(".")]
            paths = [Path(folder) / name for name in names if name.lower().endswith(_ENDINGS) and not name.startswith(".")]
            found += [path for path in paths if path.is_file() and not path.is_symlink()]
        return sorted(found)
