"""Letting each id through once, in memory that does not grow with their number."""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

from src.core.ledger import Drop
from src.core.records import Record

_CACHE = 64 << 10  # KiB of ids held in memory; the rest lies on disk


def unique(items: Iterable[Record | Drop], folder: Path) -> Iterator[Record | Drop]:
    """Pass on drops and the first record of each id; a later one is dropped as `duplicate_id`.

    Args:
        items: In the order in which the first counts.
        folder: Where ids lie that memory has no room for.
    """
    path = folder / "ids.sqlite"
    path.unlink(missing_ok=True)  # left by a kill
    with closing(sqlite3.connect(path, isolation_level=None)) as ids:
        for setting in ("journal_mode = OFF", "synchronous = OFF", "locking_mode = EXCLUSIVE", f"cache_size = -{_CACHE}"):
            ids.execute(f"PRAGMA {setting}")
        ids.execute("CREATE TABLE seen (id BLOB PRIMARY KEY) WITHOUT ROWID")
        ids.execute("BEGIN")
        add = ids.cursor().execute
        for item in items:
            if isinstance(item, Drop) or add("INSERT OR IGNORE INTO seen VALUES (?)", (item.id.encode("utf-8", "surrogatepass"),)).rowcount:
                yield item
            else:
                yield Drop(item.id, "duplicate_id", "an earlier record has this id", item.as_row())
    path.unlink()
