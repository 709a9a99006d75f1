"""What is still to be fetched and what was: one SQLite file, where a page and the links on it arrive together or not at all."""

import json
import sqlite3
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from src.core.files import to_json
from src.core.ledger import Drop
from src.core.records import Record
from src.scrape.crawl.canonical import Address, address

PENDING, TAKEN, KEPT, DROPPED, PASSED = range(5)
"""States of a row; PASSED was read only for where it leads: a redirect, a sitemap, a page kept out by `include`."""
ROBOTS_DEPTH, LISTING_DEPTH = -2, -1  # depths before that of the start pages: fetched first, without a rule of their own

_SCHEMA = """
CREATE TABLE IF NOT EXISTS pages (
  id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, url TEXT NOT NULL, host TEXT NOT NULL, kind TEXT NOT NULL, depth INTEGER NOT NULL,
  state INTEGER NOT NULL DEFAULT 0, started INTEGER NOT NULL DEFAULT 0, tries INTEGER NOT NULL DEFAULT 0, hops INTEGER NOT NULL DEFAULT 0,
  not_before REAL NOT NULL DEFAULT 0, target TEXT, reason TEXT, detail TEXT);
CREATE INDEX IF NOT EXISTS waiting ON pages (host, depth, key) WHERE state = 0;
CREATE TABLE IF NOT EXISTS documents (id INTEGER PRIMARY KEY, record BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS hosts (
  host TEXT PRIMARY KEY, robots TEXT, blocked TEXT, pause_until REAL NOT NULL DEFAULT 0, member INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS patterns (host TEXT, pattern TEXT, count INTEGER NOT NULL, PRIMARY KEY (host, pattern)) WITHOUT ROWID;
"""
_COLUMNS = "id, key, url, host, kind, depth, tries, hops, started"
_INSERT = """
INSERT INTO pages (key, url, host, kind, depth, hops) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (key) DO UPDATE SET depth = excluded.depth WHERE excluded.depth < depth AND state = 0
"""
_COUNT = "INSERT INTO patterns VALUES (?, ?, 1) ON CONFLICT DO UPDATE SET count = count + 1 WHERE count < ? RETURNING count"


class Row(NamedTuple):
    """Something to fetch."""

    id: int
    key: str
    url: str
    host: str
    kind: str
    """`start`, `page`, `sitemap`, `feed` or `robots`."""
    depth: int
    tries: int
    hops: int
    """Redirects that led here."""
    started: int

    @property
    def is_page(self) -> bool:
        """Whether it counts against the page budget."""
        return self.kind in ("start", "page")


class Frontier:
    """The file. Every method is one transaction; a process killed between two of them has lost nothing."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.executescript(_SCHEMA)

    def reopen(self) -> None:
        """Put back what was on its way when the last process ended."""
        self._db.execute("UPDATE pages SET state = ? WHERE state = ?", (PENDING, TAKEN))

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def add(self, found: Iterable[Address], *, kind: str, depth: int, hops: int = 0) -> list[str]:
        """Note addresses not known yet; return their hosts."""
        with self._transaction():
            return self._add(found, kind, depth, hops)

    def next(self, host: str, now: float, *, new: bool) -> Row | None:
        """The row of a host that is due: lowest depth first, then by key; without `new`, only what was begun or is no page."""
        only = "" if new else "AND (started = 1 OR kind NOT IN ('start', 'page'))"
        query = f"SELECT {_COLUMNS} FROM pages WHERE state = 0 AND host = ? AND not_before <= ? {only} ORDER BY depth, key LIMIT 1"  # noqa: S608
        row = self._db.execute(query, (host, now)).fetchone()
        return Row(*row) if row else None

    def earliest(self, host: str) -> float | None:
        """When the first of a host's waiting rows is due."""
        (found,) = self._db.execute("SELECT min(not_before) FROM pages WHERE state = 0 AND host = ? AND not_before > 0", (host,)).fetchone()
        return None if found is None else float(found)

    def waits(self, host: str) -> bool:
        """Whether a host has rows to fetch, now or later."""
        return self._db.execute("SELECT 1 FROM pages WHERE state = 0 AND host = ? LIMIT 1", (host,)).fetchone() is not None

    def add_robots(self, host: str, url: str) -> None:
        """Note that a host's robots.txt is to be read, before anything else of it."""
        self.add([Address(url, f"robots:{host}", host)], kind="robots", depth=ROBOTS_DEPTH)

    def take(self, row: Row, pattern: str | None = None, *, limit: int = 0) -> bool:
        """Mark a row as on its way; False, with nothing marked, where its pattern has had `limit` addresses already."""
        with self._transaction():
            if pattern and not row.started and not self._db.execute(_COUNT, (row.host, pattern, limit)).fetchone():
                return False
            self._db.execute("UPDATE pages SET state = ?, started = 1 WHERE id = ?", (TAKEN, row.id))
        return True

    def keep(self, row: Row, record: Record | None, found: Iterable[Address] = (), *, kind: str = "page", step: int = 1) -> list[str]:
        """Finish a row with its record, if it makes one, and what it leads to; return the hosts of what is new."""
        with self._transaction():
            if record is not None:
                packed = zlib.compress(to_json([record.id, record.text, record.meta]).encode(), 3)
                self._db.execute("INSERT OR REPLACE INTO documents VALUES (?, ?)", (row.id, packed))
            self._db.execute("UPDATE pages SET state = ? WHERE id = ?", (PASSED if record is None else KEPT, row.id))
            return self._add(found, kind, row.depth + step, 0)

    def drop(self, row: Row, reason: str, detail: str, found: Iterable[Address] = ()) -> list[str]:
        """Finish a row without a record; its links may still be of use."""
        with self._transaction():
            self._db.execute("UPDATE pages SET state = ?, reason = ?, detail = ? WHERE id = ?", (DROPPED, reason, detail, row.id))
            return self._add(found, "page", row.depth + 1, 0)

    def pass_on(self, row: Row, to: Address, *, member: bool) -> list[str]:
        """Finish a row that redirects; `member` makes the new host one of the crawl's own."""
        with self._transaction():
            self._db.execute("UPDATE pages SET state = ?, target = ? WHERE id = ?", (PASSED, to.key, row.id))
            if member:
                self._set_host(to.host, "member", 1)
            return self._add([to], row.kind, row.depth, row.hops + 1)

    def ask_at(self, row: Row, url: str) -> None:
        """Ask for the same row at another address: a redirect that only dresses it differently."""
        self._db.execute("UPDATE pages SET state = ?, url = ?, hops = hops + 1 WHERE id = ?", (PENDING, url, row.id))

    def put_off(self, row: Row, until: float, *, pause: bool) -> None:
        """Try a row again, at `until`; `pause` leaves its whole host alone until then."""
        with self._transaction():
            self._db.execute("UPDATE pages SET state = ?, tries = tries + 1, not_before = ? WHERE id = ?", (PENDING, until, row.id))
            if pause:
                self._set_host(row.host, "pause_until", until)

    def leads_to(self, key: str, wanted: str) -> bool:
        """Whether a chain of redirects from `key` comes to `wanted`."""
        seen: set[str] = set()
        while key not in seen:
            if key == wanted:
                return True
            seen.add(key)
            row = self._db.execute("SELECT target FROM pages WHERE key = ?", (key,)).fetchone()
            if not row or row[0] is None:
                return False
            key = row[0]
        return False

    def set_robots(self, row: Row, text: str, blocked: str | None) -> None:
        """Finish a robots.txt: its rules, or why the host may not be asked at all."""
        with self._transaction():
            self._db.execute("UPDATE pages SET state = ? WHERE id = ?", (PASSED, row.id))
            self._set_host(row.host, "robots", text)
            self._set_host(row.host, "blocked", blocked)

    def hosts(self) -> Iterator[tuple[str, str | None, str | None, float, int, int]]:
        """Each host with robots.txt, block, pause, whether redirects made it a member, and how many rows wait."""
        yield from self._db.execute(
            "SELECT host, robots, blocked, coalesce(pause_until, 0), coalesce(member, 0), count(p.id) FROM "
            "(SELECT host FROM hosts UNION SELECT host FROM pages WHERE state = 0) LEFT JOIN hosts USING (host) "
            "LEFT JOIN (SELECT id, host FROM pages WHERE state = 0) AS p USING (host) GROUP BY host"
        ).fetchall()

    def states(self) -> dict[int, int]:
        """How many rows that are pages, or were asked for and failed, are in each state."""
        return dict(self._db.execute("SELECT state, count(*) FROM pages WHERE kind <> 'robots' GROUP BY state"))

    def started(self) -> int:
        """How many pages were begun, redirects aside: what the page budget counts."""
        query = "SELECT count(*) FROM pages WHERE started = 1 AND kind IN ('start', 'page') AND target IS NULL"
        return int(self._db.execute(query).fetchone()[0])

    def results(self) -> Iterator[Record | Drop]:
        """Records and drops, by key."""
        query = "SELECT state, key, reason, detail, record FROM pages LEFT JOIN documents USING (id) WHERE state IN (?, ?) ORDER BY key"
        for state, key, reason, detail, record in self._db.execute(query, (KEPT, DROPPED)):
            yield Record(*json.loads(zlib.decompress(record))) if state == KEPT else Drop(key, reason, detail)

    def failures(self, limit: int) -> Iterator[Drop]:
        """The first rows that were dropped."""
        query = "SELECT key, reason, detail FROM pages WHERE state = ? ORDER BY key LIMIT ?"
        yield from (Drop(*row) for row in self._db.execute(query, (DROPPED, limit)))

    def has_documents(self) -> bool:
        """Whether any row made a record."""
        return self._db.execute("SELECT 1 FROM documents LIMIT 1").fetchone() is not None

    def _add(self, found: Iterable[Address], kind: str, depth: int, hops: int) -> list[str]:
        rows = [(each.key, each.url, each.host, kind, depth, hops) for each in found]
        before = self._db.total_changes
        self._db.executemany(_INSERT, rows)
        return list({row[2]: None for row in rows}) if self._db.total_changes > before else []

    def _set_host(self, host: str, column: str, value: Any) -> None:
        query = f"INSERT INTO hosts (host, {column}) VALUES (?, ?) ON CONFLICT DO UPDATE SET {column} = excluded.{column}"  # noqa: S608
        self._db.execute(query, (host, value))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")


def addresses(urls: Iterable[str]) -> Iterator[Address]:
    """Read addresses, without what is none."""
    yield from (found for found in map(address, urls) if found)
