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
        self._waiting: list[tuple[float, str | None, str]] = []
        self._timer: asyncio.TimerHandle | None = None

    def note(self, path: str, how: int | str, ms: float, route: str) -> None:
        """Note a request: its path, its status or what became of it, and which model answered and why."""
        if not LOG.isEnabledFor(logging.INFO):
            return
        self._waiting.append((time.time(), REQUEST.get(), f"{path[4:].partition('/')[0]} {how} {ms:.0f} ms{' ' if route else ''}{route}"))
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
        common = vars(logging.LogRecord(LOG.name, logging.INFO, __file__, 0, "", None, None))
        for when, request, said in waiting:
            record = logging.LogRecord.__new__(logging.LogRecord)  # without asking for process, thread and place in the code again
            own = {"msg": said, "created": when, "msecs": (when % 1) * 1000, "fields": {"request_id": request} if request else {}}
            vars(record).update(common | own)
            LOG.handle(record)
