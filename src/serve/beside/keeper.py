"""Keeps one process beside all workers of a server: whichever worker is first starts and watches it, another where that one ends."""

import asyncio
import json
import logging
import os
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.core.secrets import redact
from src.serve.beside.line import Line, LineError

if TYPE_CHECKING:
    from src.llm.launcher import Launcher

LOG = logging.getLogger("mlx.serve")
PULSE = 1.0  # seconds between two looks
BRIEF = 1.0  # seconds before another try with a process that died before the launcher knew of it
PAUSE = 30.0  # seconds before another try with a process that never answered
STARTUP = 120.0  # seconds until it answers, though it may still be loading
PATIENCE = 5.0  # seconds that a look may take
LONGEST_PATH = 100
"""Bytes that the path of a socket may have, more or less."""
TROUBLE = ("failed", "unavailable")
ALWAYS = 1_000_000
"""Restarts: who watches it has nothing better to do."""


class Keeper:
    """A process that runs `python -m module SOCKET FILE`, which has its settings, and the line to it."""

    def __init__(self, module: str, settings: dict[str, Any], *, path: Path, log: Path) -> None:
        """Prepare; `run` starts.

        Args:
            module: What the process runs.
            settings: What it is told, by a JSON file beside the socket; no secrets, which come with the environment.
            path: Where its socket lies; that is how workers find the one process.
            log: What it prints is appended here.
        """
        path = _short(path)
        self.line = Line(path)
        self.told: dict[str, Any] = {}
        """What the process last said about itself; empty while it does not answer."""
        self._settings, self._told = path.with_suffix(".json"), json.dumps(settings)
        self._command = [sys.executable, "-P", "-m", module, str(path), str(self._settings)]
        self._path, self._log = path, log
        self._launcher: Launcher | None = None
        self._given_up = 0.0
        self._answered = False

    @property
    def state(self) -> str:
        """What the process says of itself, such as `loading` or `ready`; else `starting`, `restarting` or `failed`."""
        if self.told and self.line.connected:
            return str(self.told.get("state", "ready"))
        state = self._launcher.state if self._launcher else "starting"
        return {"ready": "starting", "failed": "restarting" if self._answered else "failed"}.get(state, state)

    async def run(self) -> None:
        """Keep the process, or watch the one that another worker keeps, until cancelled."""
        from filelock import FileLock, Timeout

        self._path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self._path.with_suffix(".keeper"))
        try:
            while True:
                if self._launcher is None or self._over():
                    with suppress(Timeout):
                        lock.acquire(timeout=0)
                        self._start()
                await self._look()
                await asyncio.sleep(PULSE / 5 if self.told.get("state", "loading") == "loading" else PULSE)
        finally:
            if self._launcher:
                await asyncio.shield(asyncio.to_thread(self._launcher.stop))
            await self.line.close()
            lock.release(force=True)

    def _start(self) -> None:
        from src.core.files import write_text
        from src.llm.launcher import Launcher

        write_text(self._settings, self._told)
        self._launcher = Launcher(
            self._command,
            port=0,
            log=self._log,
            health=lambda: answers(self._path),
            startup_timeout=STARTUP,
            restarts=ALWAYS,
            backoff=0.5,
            grace=5,
        )
        self._launcher.start()
        self._given_up, self._answered = 0.0, False

    def _over(self) -> bool:
        """Whether to try with another process: at once where the last one answered, else after a while."""
        if self._launcher is None or self._launcher.state != "failed":
            return False
        if not self._given_up:
            pause = BRIEF if self._answered else PAUSE
            LOG.error("%s; it is tried again in %g s", self._launcher.error(), pause)
            self._given_up = time.monotonic() + pause
        return time.monotonic() > self._given_up

    async def _look(self) -> None:
        before = self.told.get("state")
        try:
            self.told = await self.line.ask("state", within=PATIENCE)
            self._answered = True
        except LineError:
            self.told = {}
        if (state := self.told.get("state")) != before and state in TROUBLE:
            LOG.warning("the %s is %s: %s", self._path.stem, state, redact(str(self.told.get("why"))))


def _short(path: Path) -> Path:
    """The same path from the working folder where it is too long for a socket."""
    return path if len(os.fsencode(path)) < LONGEST_PATH else Path(os.path.relpath(path))


def answers(path: Path) -> bool:
    """Whether a process answers on the socket at `path`; for threads."""
    with socket.socket(socket.AF_UNIX) as asking:
        asking.settimeout(PATIENCE)
        try:
            asking.connect(str(path))
            asking.sendall(b'{"id":0,"do":"state","within":5}\n')
            return bool(asking.recv(1))
        except OSError:
            return False
