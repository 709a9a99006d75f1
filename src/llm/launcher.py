"""Keeps an engine such as vLLM running as a process of its own: starts it, watches it, starts it again, ends it."""

import http.client
import logging
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from src.core.errors import MlxError
from src.core.secrets import redact

LOG = logging.getLogger("mlx.launcher")
TICK = 0.1  # seconds between two looks at the process
PULSE = 1.0  # seconds between two questions after its health
MISSES = 10  # unanswered questions in a row, after which a running engine counts as hung
PATIENCE = 5.0  # seconds that one question may take
LONGEST_PAUSE = 60.0  # seconds before a restart
STEADY = 300.0  # seconds of health after which earlier crashes are forgotten


class Launcher:
    """One engine process behind a loopback port, supervised by a thread.

    Its state goes `starting` → `ready`, from there to `restarting` and back where it crashes or hangs, and ends as
    `stopped` or `failed`. An engine that was never ready is not started again: it would fail the same way.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        port: int,
        log: Path,
        health: str | Callable[[], bool] = "/health",
        startup_timeout: float = 600.0,
        restarts: int = 3,
        backoff: float = 2.0,
        grace: float = 15.0,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Prepare; `start` starts.

        Args:
            command: The engine's command line; it has to listen on `port` of 127.0.0.1.
            port: Where it listens.
            log: What the engine prints is appended here.
            health: The path that answers 200 once the engine is ready, or what tells whether it is; `port` means nothing then.
            startup_timeout: Seconds from start to health.
            restarts: How often in a row it is started again.
            backoff: Seconds before the first restart; doubled before each further one, up to a minute.
            grace: Seconds between the request to end (SIGTERM) and the end (SIGKILL).
            environment: Variables for the engine, over those of this process.
        """
        self.command = list(command)
        self.port = port
        self.log = log
        self.health = health
        self.startup_timeout = startup_timeout
        self.restarts = restarts
        self.backoff = backoff
        self.grace = grace
        self.environment = dict(environment or {})
        self.state = "new"
        self.detail = ""
        self.pid: int | None = None
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._thread = threading.Thread()

    @property
    def url(self) -> str:
        """Where the engine answers."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start the engine and its supervision, again where it was stopped or given up; returns at once."""
        self._enter("starting")
        self._stop.clear()
        self._thread = threading.Thread(target=self._supervise, name="launcher", daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Return once the engine is ready.

        Raises:
            MlxError: Where it failed or was stopped, with the last lines of its log.
        """
        with self._changed:
            self._changed.wait_for(lambda: self.state in ("ready", "failed", "stopped"))
        if self.state != "ready":
            raise self.error()

    def wait_failed(self) -> bool:
        """Return True once the engine is given up, False once it is stopped."""
        with self._changed:
            self._changed.wait_for(lambda: self.state in ("failed", "stopped"))
        return self.state == "failed"

    def error(self) -> MlxError:
        """What ended the engine."""
        return MlxError(f"{Path(self.command[0]).name} {self.detail or self.state}", f"its log is {self.log}")

    def stop(self) -> None:
        """End the engine with all its processes, and wait for that."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def _enter(self, state: str, detail: str = "") -> None:
        with self._changed:
            self.state, self.detail = state, detail
            self._changed.notify_all()

    def _supervise(self) -> None:
        crashes = 0
        while True:
            began = time.monotonic()
            try:
                ended, words = self._live()
            except OSError as error:
                ended, words = f"cannot be started: {error}", ""
            if self._stop.is_set():
                return self._enter("stopped")
            if time.monotonic() - began > STEADY:
                crashes = 0
            if self.state != "ready" and crashes == 0:
                return self._enter("failed", ended + words)
            if crashes >= self.restarts:
                return self._enter("failed", f"{ended}, after {crashes} restarts{words}")
            pause = min(self.backoff * 2 ** min(crashes, 16), LONGEST_PAUSE)
            crashes += 1
            LOG.warning("the engine %s; starting it again in %.1f s (%d of %d)", ended, pause, crashes, self.restarts)
            self._enter("restarting", ended)
            if self._stop.wait(pause):
                return self._enter("stopped")

    def _live(self) -> tuple[str, str]:
        """Run the engine once; return how it ended, and its last words."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as stream:
            offset = stream.tell()
            # its own group, so that it ends with all its children, and a Ctrl-C at the terminal reaches only us
            process = subprocess.Popen(
                mortal(self.command),
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, **self.environment},
            )
        self.pid = process.pid
        try:
            ended = self._watch(process)
        finally:
            end(process, self.grace)
            self.pid = None
        return ended, tail(self.log, offset)

    def _watch(self, process: subprocess.Popen[bytes]) -> str:
        deadline = time.monotonic() + self.startup_timeout
        ask, misses, ready = 0.0, 0, False
        while not self._stop.wait(TICK):
            if (code := process.poll()) is not None:
                return f"ended by signal {-code}" if code < 0 else f"ended with code {code}"
            if time.monotonic() < ask:
                continue
            if self._healthy():
                misses, ready = 0, True
                if self.state != "ready":
                    self._enter("ready")
            elif ready:
                misses += 1
            ask = time.monotonic() + PULSE
            if misses >= MISSES:
                return f"did not answer {self.health if isinstance(self.health, str) else 'us'} {misses} times"
            if not ready and time.monotonic() > deadline:
                return f"was not ready after {self.startup_timeout:g} s"
        return ""

    def _healthy(self) -> bool:
        return answers(self.port, self.health) if isinstance(self.health, str) else self.health()


def mortal(command: Sequence[str]) -> list[str]:
    """Let the process get SIGTERM when ours dies, even by kill -9, where the system can do that."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "TERM", *command] if setpriv else list(command)


def end(process: subprocess.Popen[bytes], grace: float) -> None:
    """Ask a process to end with its children, then make it and them."""
    if process.poll() is None:
        process.terminate()  # it alone: engines clean up after children that they end themselves
        with suppress(subprocess.TimeoutExpired):
            process.wait(grace)
    with suppress(ProcessLookupError):  # children may outlive their parent
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def answers(port: int, path: str) -> bool:
    """Whether 127.0.0.1 answers 200 to a GET; asked directly, whatever proxy the environment names."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def tail(log: Path, offset: int, lines: int = 6) -> str:
    """The last lines of a log from `offset` on, without secrets, to stand under an error."""
    with log.open("rb") as stream:
        stream.seek(max(offset, stream.seek(0, os.SEEK_END) - 20_000))
        text = stream.read().decode(errors="replace")
    last = [line for line in text.splitlines() if line.strip()][-lines:]
    return "".join(f"\n  {redact(line)[:300]}" for line in last)


def free_port() -> int:
    """A loopback port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
