"""Keep every answer of a model for good, the moment it arrives: what is paid for once is never paid for again."""

import sqlite3
from collections.abc import Iterable, Sequence
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

_PAID = """create table if not exists paid (
    job text primary key, calls integer, prompt integer, completion integer, cost real
) without rowid"""

_PUT = "insert or replace into answers (key, model, text, finish, prompt, completion) values (?, ?, ?, ?, ?, ?)"

_PAY = """insert into paid values (?, 1, ?, ?, ?) on conflict (job) do update set
    calls = calls + 1, prompt = prompt + excluded.prompt, completion = completion + excluded.completion, cost = cost + excluded.cost"""

_NONE = Usage()


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
            self._base.execute(_PAID)
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
        self.keep([(key, reply)], model)

    def keep(self, replies: Iterable[tuple[str, Reply]], model: str, *, job: str = "", usage: Usage = _NONE, cost: float = 0.0) -> None:
        """Keep the answers of one call and what it cost, all or nothing.

        Args:
            replies: Keys and answers.
            model: Who answered.
            job: The work that it is paid for, over all its runs; none is kept account of without a name.
            usage: Tokens of the call.
            cost: Its price.
        """
        rows = [(key, model, _storable(each.text), each.finish, each.usage.prompt, each.usage.completion) for key, each in replies]
        try:
            with self._lock:
                self._write(rows, (job, usage.prompt, usage.completion, cost) if job else None)
                if monotonic() - self._synced > 1:
                    self._base.execute("pragma wal_checkpoint(passive)")
                    self._synced = monotonic()
        except sqlite3.Error as error:
            raise MlxError(
                f"{self.path}: cannot keep an answer: {error}", "make room on the disk, then run again: it goes on from there"
            ) from None

    def _write(self, rows: Sequence[tuple[object, ...]], paid: tuple[object, ...] | None) -> None:
        self._base.execute("begin immediate")
        try:
            self._base.executemany(_PUT, rows)
            if paid:
                self._base.execute(_PAY, paid)
            self._base.execute("commit")
        except sqlite3.Error:
            if self._base.in_transaction:
                self._base.execute("rollback")
            raise

    def paid(self, job: str) -> tuple[int, Usage, float]:
        """Calls, tokens and money that went into a job so far."""
        with self._lock:
            row = self._base.execute("select calls, prompt, completion, cost from paid where job = ?", (job,)).fetchone()
        return (row[0], Usage(row[1], row[2]), row[3]) if row else (0, Usage(), 0.0)

    def forget(self, keys: Iterable[str]) -> None:
        """Drop answers, so that they are asked for anew."""
        with self._lock:
            self._base.executemany("delete from answers where key = ?", [(key,) for key in keys])

    def settle(self, job: str) -> None:
        """Close a job's account: it is done."""
        with self._lock:
            self._base.execute("delete from paid where job = ?", (job,))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._base.close()


def _storable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()  # half of a pair of surrogates cannot be stored
