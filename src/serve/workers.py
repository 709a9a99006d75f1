"""Several worker processes on one socket: started, watched, started again when they die, drained at the end."""

import json
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from src.core.errors import MlxError
from src.llm.launcher import Launcher, mortal
from src.serve.control.shared_counts import forget_worker
from src.serve.server import DRAIN, SIGNALS

LOG = logging.getLogger("mlx.serve")
TICK = 0.1  # seconds between two looks at the workers
SHORT = 5.0  # seconds; a worker that lived no longer waits as long before it lives again
STARTUP = 60.0  # seconds until a worker answers


class _Worker:
    """One process."""

    def __init__(self, command: list[str], told: dict[str, Any], listening: socket.socket) -> None:
        ready, said = os.pipe()
        self.began = time.monotonic()
        self._ready, self.was_ready = ready, False
        self.process = subprocess.Popen(mortal(command), stdin=subprocess.PIPE, pass_fds=(listening.fileno(), said), start_new_session=True)
        os.close(said)
        assert self.process.stdin  # noqa: S101 (for the type checker)
        self.process.stdin.write(json.dumps({**told, "socket": listening.fileno(), "ready": said}).encode())
        self.process.stdin.close()

    def ready(self) -> bool:
        """Whether it answers, or has."""
        if not self.was_ready and select.select([self._ready], [], [], 0)[0] and os.read(self._ready, 1):
            self.was_ready = True
        return self.was_ready

    def close(self) -> None:
        """Forget it."""
        os.close(self._ready)
        forget_worker(self.process.pid)


class Workers:
    """Keeps so many workers alive that answer on one socket."""

    def __init__(self, count: int, told: dict[str, Any], listening: socket.socket, launchers: Sequence[Launcher] = ()) -> None:
        """Prepare.

        Args:
            count: How many.
            told: What each is told (src/serve/worker.py).
            listening: Where they answer.
            launchers: Keep the engines that all of them ask.
        """
        self._count, self._told, self._listening, self._launchers = count, told, listening, launchers
        self._stop = threading.Event()
        self._workers: list[_Worker] = []
        self._again: list[float] = []

    def run(self) -> None:
        """Serve until SIGTERM or Ctrl-C.

        Raises:
            MlxError: Where workers cannot start, or the last engine is given up.
        """
        with self._signals():
            try:
                for launcher in self._launchers:
                    launcher.start()
                self._workers = [self._start() for _ in range(self._count)]
                self._watch()
            except KeyboardInterrupt:  # in a notebook
                pass
            finally:
                self._end()

    def _start(self) -> _Worker:
        return _Worker([sys.executable, "-P", "-m", "src.serve.worker"], self._told, self._listening)

    def _watch(self) -> None:
        told = False
        while not self._stop.wait(TICK):
            for worker in list(self._workers):
                if not worker.ready() and worker.process.poll() is None and time.monotonic() - worker.began > STARTUP:
                    worker.process.kill()
                if worker.process.poll() is not None:
                    self._buried(worker)
            while self._again and self._again[0] <= time.monotonic():
                self._again.pop(0)
                self._workers.append(self._start())
            if not told and len(self._workers) == self._count and all(worker.ready() for worker in self._workers):
                told = True
                LOG.info("%d workers are ready", self._count)
            if self._launchers and all(launcher.state == "failed" for launcher in self._launchers):
                raise self._launchers[0].error()

    def _buried(self, worker: _Worker) -> None:
        code, lived = worker.process.returncode, time.monotonic() - worker.began
        worker.ready()
        self._workers.remove(worker)
        worker.close()
        how = f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"
        if not worker.was_ready and not any(each.was_ready for each in self._workers):
            raise MlxError(f"a worker {how} before it was ready", "its words are above; serve.workers=1 shows a fault in one process")
        LOG.warning("a worker %s after %.0f s; another takes its place", how, lived)
        self._again.append(time.monotonic() + (SHORT if lived < SHORT else 0))

    def _end(self) -> None:
        for worker in self._workers:
            worker.process.terminate()
        deadline = time.monotonic() + DRAIN + 5
        for worker in self._workers:
            try:
                worker.process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()
            worker.close()
        for launcher in self._launchers:
            launcher.stop()

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Take signals as a wish to end, a second Ctrl-C as one to end at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def wish(number: int, _: object) -> None:
            if self._stop.is_set() and number == signal.SIGINT:
                for worker in self._workers:
                    worker.process.kill()
            self._stop.set()

        before = {each: signal.signal(each, wish) for each in SIGNALS}
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)
