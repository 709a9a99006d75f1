"""Keep every answer of a model for good, the moment it arrives: what is paid for once is never paid for again."""

import sqlite3
from pathlib import Path
from threading import Lock
from time import monotonic
from types import TracebackType
from typing import Self

from src.core.errors import MlxError
from src.llm.client import Reply, Usage

_TABLE = """create table if not exists answers (
    key text primary key, model text, text text, finish text, prompt integer, completion integer, at text default current_timestamp
) without rowid"""

_PUT = "insert or replace into answers (key, model, text, finish, prompt, completion) values (?, ?, ?, ?, ?, ?)"


class Answers:
    """Answers by the key of their question, in an SQLite file that several runs may share."""

    def __init__(self, path: Path) -> None:
        """Open the file, and make it where there is none."""
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = Lock()
        self._synced = monotonic()
        # every statement is a transaction of its own, which outlives this process at once, and the machine's power after a second
        self._base = sqlite3.connect(path, timeout=60, isolation_level=None, check_same_thread=False)
        try:
            self._base.execute("pragma journal_mode=wal")
            self._base.execute("pragma synchronous=normal")
            self._base.execute(_TABLE)
        except sqlite3.DatabaseError as error:
            self._base.close()
            raise MlxError(
                f"{path}: the kept answers cannot be read: {error}", f"move {path} away; its answers are then paid for again"
            ) from None

    def get(self, key: str) -> Reply | None:
        """The answer to a question, if there is one."""
        with self._lock:
            row = self._base.execute("select text, finish, prompt, completion from answers where key = ?", (key,)).fetchone()
        return Reply(row[0], Usage(row[2], row[3]), row[1]) if row else None

    def put(self, key: str, model: str, reply: Reply) -> None:
        """Keep an answer."""
        text = reply.text.encode("utf-8", "replace").decode()  # half of a pair of surrogates cannot be stored
        row = (key, model, text, reply.finish, reply.usage.prompt, reply.usage.completion)
        try:
            with self._lock:
                self._base.execute(_PUT, row)
                if monotonic() - self._synced > 1:
                    self._base.execute("pragma wal_checkpoint(passive)")
                    self._synced = monotonic()
        except sqlite3.Error as error:
            raise MlxError(
                f"{self.path}: cannot keep an answer: {error}", "make room on the disk, then run again: it goes on from there"
            ) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._base.close()
