"""The line of the log that each request has, written a few at a time: a line alone costs more than passing the request on."""

import asyncio
import logging
import time

from src.serve.access.json_log import REQUEST

LOG = logging.getLogger("mlx.serve")
PAUSE = 0.1  # seconds that a line may wait
MOST = 1000  # lines that may wait


class RequestLog:
    """Gathers lines; whoever ends the server flushes them."""

    def __init__(self) -> None:
        self._waiting: list[tuple[float, str | None, tuple[str, int | str, float, str]]] = []
        self._timer: asyncio.TimerHandle | None = None

    def note(self, path: str, how: int | str, ms: float, route: str) -> None:
        """Note a request: its path, its status or what became of it, and which model answered and why."""
        if not LOG.isEnabledFor(logging.INFO):
            return
        self._waiting.append((time.time(), REQUEST.get(), (path[4:].partition("/")[0], how, ms, f" {route}" if route else "")))
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(PAUSE, self.flush)
        elif len(self._waiting) >= MOST:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
        waiting, self._waiting = self._waiting, []
        for when, request, said in waiting:
            # without asking for the place in the code
            record = logging.LogRecord(LOG.name, logging.INFO, __file__, 0, "%s %s %.0f ms%s", said, None)
            record.created, record.msecs = when, (when % 1) * 1000
            record.fields = {"request_id": request} if request else {}
            LOG.handle(record)
