"""The audit log: one file a server process, append-only, each line sealed with the hash of the one before."""

import asyncio
import hashlib
import hmac
import json
import logging
import os
import threading
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from src.serve.access.strength import strong

LOG = logging.getLogger("mlx.serve")
SEAL = "hash"


class AuditLog:
    """Writes one chain.

    A chain's first line names the heads of all chains that are there already, so that a file, or the end of one, cannot be
    taken away unseen; `NAME.head` beside it says how far this one got.
    """

    def __init__(self, folder: Path, *, key: bytes | None, fsync: str) -> None:
        """Begin a chain in `folder`; see `Audit` for the settings."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        name = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{os.getpid()}-{uuid.uuid4().hex[:6]}"
        before = {
            path.stem: head.split()[-1] for path in sorted(folder.glob("*.head")) if (head := path.read_text(encoding="ascii").strip())
        }
        self.path = folder / f"{name}.jsonl"
        self._key, self._fsync = key, fsync
        self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        self._head = os.open(self.path.with_suffix(".head"), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self._number, self._last, self._size, self._synced = 0, "", 0, 0
        self._second = 0, ""
        self._noting = self._closed = False
        self._lock = threading.Lock()
        self.at_once = fsync != "line"
        """Whether a line is done with once it is written."""
        self.write({"event": "open", "pid": os.getpid(), "keyed": key is not None, "before": before})

    def write(self, entry: dict[str, Any]) -> None:
        """Append a line, whole or not at all.

        Raises:
            OSError: Where the disk does not take it.
        """
        with self._lock:
            line = {"n": self._number + 1, "time": self._time(), **entry, "prev": self._last}
            text = spelled(line)
            seal = _seal(text, self._key)
            data = text[:-1] + f',"{SEAL}":"{seal}"}}\n'.encode()
            if os.write(self._file, data) < len(data):
                os.ftruncate(self._file, self._size)
                raise OSError(28, "the disk did not take a line of the audit log")
            self._number, self._last, self._size = self._number + 1, seal, self._size + len(data)
            self._noted()

    def _time(self) -> str:
        """Now, in ISO 8601 to the millisecond; a second is spelled once."""
        now = time.time()
        if self._second[0] != int(now):
            self._second = int(now), datetime.fromtimestamp(int(now), UTC).strftime("%Y-%m-%dT%H:%M:%S")
        return f"{self._second[1]}.{int(now % 1 * 1000):03d}+00:00"

    def _noted(self) -> None:
        """Note how far the chain got, once for all lines of a turn of the loop: a note that lags is no sign of a change."""
        if self._noting:
            return
        try:
            asyncio.get_running_loop().call_soon(self._note)
            self._noting = True
        except RuntimeError:  # nobody to do it soon
            self._note()

    def _note(self) -> None:
        self._noting = False
        if self._closed:
            return
        try:
            os.pwrite(self._head, f"{self._number:020d} {self._last}\n".encode(), 0)
        except OSError as error:  # the next line tells the one who asks
            LOG.error("how far the audit log got cannot be noted: %s", error.strerror)

    async def force(self) -> None:
        """Force lines to the disk now, where the settings ask for it at each line."""
        if self._fsync == "line":
            await asyncio.to_thread(self._sync)

    async def run(self) -> None:
        """Force lines to the disk once a second, where the settings ask for that."""
        while self._fsync == "second":
            await asyncio.sleep(1)
            await asyncio.to_thread(self._sync)

    def close(self) -> None:
        """End the chain."""
        try:
            self.write({"event": "close"})
            self._note()
            self._sync()
        finally:
            self._closed = True
            os.close(self._file)
            os.close(self._head)

    def _sync(self) -> None:
        if self._synced != self._number:
            self._synced = self._number
            os.fsync(self._file)
            os.fsync(self._head)


def sealed(line: dict[str, Any], key: bytes | None) -> str:
    """The seal of a line, its own left out: HMAC-SHA256 with the key, or SHA-256 without."""
    return _seal(spelled({name: value for name, value in line.items() if name != SEAL}), key)


def spelled(line: dict[str, Any]) -> bytes:
    """A line in the one way that it is sealed in: sorted, without spaces, in ASCII."""
    try:
        text = orjson.dumps(line, option=orjson.OPT_SORT_KEYS)
    except TypeError:  # half a character in a path
        text = b"\xff"
    return text if text.isascii() else json.dumps(line, sort_keys=True, separators=(",", ":")).encode()


def _seal(text: bytes, key: bytes | None) -> str:
    return hmac.digest(key, text, "sha256").hex() if key else hashlib.sha256(text).hexdigest()


def audit_key(name: str | None) -> bytes | None:
    """The key of the audit log, from the environment.

    Raises:
        MlxError: Where it is set and weak.
    """
    value = os.environ.get(name or "", "").strip()
    return strong(value, str(name)).encode() if value else None
