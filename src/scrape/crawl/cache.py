"""One cache of answers for all crawls: a SQLite file, safe under kill -9, with nothing in it that could run."""

import json
import sqlite3
import time
import zlib
from pathlib import Path
from typing import Any

from scrapy.http import Headers, Response
from scrapy.responsetypes import responsetypes

_SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (
  key BLOB PRIMARY KEY, url TEXT NOT NULL, stored REAL NOT NULL, status INTEGER NOT NULL, headers TEXT NOT NULL, body BLOB NOT NULL)
"""


class SqliteStorage:
    """The storage behind Scrapy's HTTP cache; its RFC 2616 policy decides what is stored, fresh, or asked for anew."""

    def __init__(self, settings: Any) -> None:
        self.path = Path(settings["HTTPCACHE_DIR"])
        self._db: sqlite3.Connection | None = None
        self._fingerprint: Any = None

    def open_spider(self, spider: Any) -> None:
        """Open the file; several crawls may have it open."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(self.path, isolation_level=None, timeout=60)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = OFF")  # a cache may lose its last answers with the power
        self._db.execute(_SCHEMA)
        self._fingerprint = spider.crawler.request_fingerprinter

    def close_spider(self, spider: Any) -> None:
        """Close the file."""
        if self._db:
            self._db.close()

    def retrieve_response(self, spider: Any, request: Any) -> Response | None:
        """The answer stored for a request."""
        query = "SELECT url, status, headers, body FROM answers WHERE key = ?"
        row = self._db.execute(query, (self._fingerprint.fingerprint(request),)).fetchone() if self._db else None
        if row is None:
            return None
        url, status, headers, body = row
        found = Headers({name: [value.encode("latin-1") for value in values] for name, values in json.loads(headers).items()})
        content = zlib.decompress(body)
        kind = responsetypes.from_args(headers=found, url=url, body=content)
        return kind(url=url, headers=found, status=status, body=content)

    def store_response(self, spider: Any, request: Any, response: Any) -> None:
        """Store an answer in the place of the one before."""
        headers = {name.decode("latin-1"): [v.decode("latin-1") for v in values] for name, values in response.headers.items()}
        body = zlib.compress(response.body, 1)
        row = (self._fingerprint.fingerprint(request), response.url, time.time(), response.status, json.dumps(headers), body)
        if self._db:
            self._db.execute("INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?, ?)", row)
