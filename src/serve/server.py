"""Runs the server from the first listening to the last answer, and tells others on this machine where it is."""

import asyncio
import gc
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from src.core.errors import MlxError
from src.core.files import to_json, write_text
from src.core.manifest import Manifest, now
from src.serve.line import Line

FILE = "server.json"
DRAIN = 30  # seconds that answers under way get to end once the server is asked to
THRESHOLDS = gc.get_threshold()
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Server(uvicorn.Server):
    """A uvicorn server that ends in peace on SIGTERM and Ctrl-C, at once on a second Ctrl-C, and tells why it failed."""

    def __init__(self, app: ASGIApp, *, proxies: Sequence[str] = ()) -> None:
        """`proxies` are the addresses whose X-Forwarded-For is believed."""
        # no log config of uvicorn's: each request has its line in the log of mlx
        settings = uvicorn.Config(
            app,
            lifespan="on",
            http=Line,
            log_config=None,
            log_level="error",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=DRAIN,
            proxy_headers=bool(proxies),
            forwarded_allow_ips=list(proxies),
        )
        super().__init__(settings)
        self.failure: BaseException | None = None
        self.ready: Callable[[], None] = lambda: None
        """Called once it answers."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take signals as a wish to end; uvicorn would raise them again afterwards, and the exit code would not be 0."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {each: signal.signal(each, self.handle_exit) for each in SIGNALS}
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and from then on look after what requests leave behind alone: what was imported stays."""
        await super().startup(sockets)
        gc.collect()
        gc.freeze()
        gc.set_threshold(5_000, 20, 50)
        self.ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End, and leave the process as it was."""
        await super().shutdown(sockets)
        gc.unfreeze()
        gc.set_threshold(*THRESHOLDS)

    def run_on(self, listening: socket.socket) -> None:
        """Serve until stopped; in a notebook, whose own loop runs already, from a thread that its stop button ends."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return self.run(sockets=[listening])
        thread = threading.Thread(target=self.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            thread.join()
        except KeyboardInterrupt:
            self.should_exit = True
            thread.join()

    def fail(self, error: BaseException) -> None:
        """End, because the engine was given up."""
        self.failure = error
        self.should_exit = True


def listen(host: str, port: int) -> socket.socket:
    """Listen on `host`, on a free port if `port` is 0.

    Raises:
        MlxError: Where the port is taken, or the host is not this machine's.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        with ExitStack() as closing:
            listening = closing.enter_context(socket.socket(family, kind, protocol))
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen(128)
            closing.pop_all()
    except OSError as error:
        hint = "set serve.port=0 for a free one, or end what listens there" if port else "set serve.host to an address of this machine"
        raise MlxError(f"cannot listen on {host}:{port}: {error.strerror or error}", hint) from None
    return listening


def url(listening: socket.socket) -> str:
    """Where clients on this machine reach it."""
    host, port = listening.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 (every interface includes this one)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@contextmanager
def announced(folder: Path, where: str, model: str, lineage: dict[str, str]) -> Iterator[None]:
    """Tell in `folder`/server.json where the server is, as long as the block runs."""
    file = folder / FILE
    told: dict[str, Any] = {"pid": os.getpid(), "url": where, "model": model, "started": now().isoformat(), "lineage": lineage}
    write_text(file, to_json(told) + "\n")
    try:
        yield
    finally:
        file.unlink(missing_ok=True)


def lineage(output: Path) -> dict[str, str]:
    """Fingerprint of a finished output and of all that it was made from, by stage, as far as that is still there."""
    manifest = Manifest.read(output)
    found = {manifest.stage: manifest.fingerprint}
    for origin in (each for origins in manifest.inputs.values() for each in origins):
        earlier = Manifest.find(Path(origin.path))
        if earlier and earlier.fingerprint == origin.fingerprint:  # else it was made anew since, and is another
            found |= lineage(Path(origin.path))
    return found


def failed_report(evaluated: Path, model: str) -> Path | None:
    """The report of an evaluation of this very model (by its fingerprint) whose gates failed, or None."""
    manifest = Manifest.find(evaluated)
    if manifest is None or manifest.info.get("verdict") != "fail":
        return None
    same = any(origin.fingerprint == model for origin in manifest.inputs.get("model", ()))
    return evaluated / "report.md" if same else None
