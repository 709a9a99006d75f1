"""Lets a bug keep its traceback, without the secrets that may stand in it."""

import logging
import sys
import threading
from types import TracebackType

from src.core.secrets import Redact, redact


def redacted_crashes() -> None:
    """Take secrets out of what a crash writes: of the process, of a thread, and of libraries whose log nobody handles."""
    sys.excepthook = _crashed
    threading.excepthook = lambda told: _crashed(told.exc_type, told.exc_value, told.exc_traceback)
    if (last := logging.lastResort) and not last.filters:
        last.addFilter(Redact())


def _crashed(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    import traceback  # where nothing crashes nobody needs it

    sys.stderr.write(redact("".join(traceback.format_exception(kind, error, trace))))
