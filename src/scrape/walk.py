"""Going through a folder in a fixed order, past loops of links and folders that may not be read."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path


def walk(folder: Path, *, recursive: bool = True, on_error: Callable[[OSError], None] | None = None) -> Iterator[Path]:
    """Yield the files under `folder`, by name, without hidden ones; a folder reached twice over links is read once.

    Args:
        folder: Where to begin.
        recursive: Whether to go into folders below.
        on_error: Called with each folder that cannot be read.
    """
    seen: set[tuple[int, int]] = set()
    for place, below, names in os.walk(folder, followlinks=True, onerror=on_error):
        stat = Path(place).stat()
        if (mark := (stat.st_dev, stat.st_ino)) in seen:
            below.clear()
            continue
        seen.add(mark)
        below[:] = sorted(name for name in below if recursive and not name.startswith("."))
        for name in sorted(names):
            if not name.startswith("."):
                yield Path(place) / name
