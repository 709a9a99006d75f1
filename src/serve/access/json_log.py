"""The log as JSON lines, each with the id of the request it belongs to."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime

from src.core.log import ROOT

REQUEST: ContextVar[str | None] = ContextVar("request", default=None)
"""The id of the request that is being answered."""


class JsonFormatter(logging.Formatter):
    """Writes a record as one line of JSON: no line break of a client's makes two of it."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        row = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if request := REQUEST.get():
            row["request_id"] = request
        row |= getattr(record, "fields", {})
        if record.exc_info:
            row["exception"] = record.exc_text or self.formatException(record.exc_info)
        return json.dumps(row, ensure_ascii=False, default=str)


@contextmanager
def json_lines(on: bool) -> Iterator[None]:
    """Let every handler of the log write JSON in the block, if `on`."""
    before = [(handler, handler.formatter) for handler in ROOT.handlers] if on else []
    for handler, _ in before:
        handler.setFormatter(JsonFormatter())
    try:
        yield
    finally:
        for handler, formatter in before:
            handler.setFormatter(formatter)
