"""Asks a process of its own which task a prompt is, and does without an answer that does not come in time."""

import asyncio
import json
import logging
import os
import sys
from collections import OrderedDict
from contextlib import suppress
from hashlib import blake2b
from itertools import count
from typing import Any

from src.core.secrets import redact
from src.serve.routing.settings import Classifier, Examples

LOG = logging.getLogger("mlx.routing")
_READ = 2000  # characters of a prompt that are compared: a sentence model reads about as many
_KEPT = 2048  # answers kept: the turns of an agent ask the same again and again
_WAITING = 64  # prompts under way; more are not sent, so that a slow process is not buried
_PAUSE = 2.0  # seconds before it is started again, doubled each time up to the last
_LAST_PAUSE = 60.0
_LINE = 1 << 16


class Classified:
    """Finds tasks by examples.

    Args:
        settings: How.
        examples: Prompts by task.
    """

    def __init__(self, settings: Classifier, examples: Examples) -> None:
        self.settings = settings
        self.examples = examples
        self.state = "loading"
        """`loading`, `ready`, `down` or `stopped`."""
        self.pid: int | None = None
        self._asked: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._known: OrderedDict[bytes, dict[str, Any]] = OrderedDict()
        self._numbers = count()
        self._input: asyncio.StreamWriter | None = None

    async def task(self, prompt: str) -> tuple[str | None, str]:
        """The task, or None where it cannot be told, and why; never raises but where it is cancelled."""
        text = prompt[:_READ].strip()
        if not text:
            return None, "nothing said"
        key = blake2b(text.encode("utf-8", "replace"), digest_size=16).digest()
        found = self._known.get(key)
        if found is None:
            if self.state != "ready" or self._input is None:
                return None, f"classifier {self.state}"
            if len(self._asked) >= _WAITING:
                return None, "classifier busy"
            try:
                found = await self._ask(self._input, text)
            except (TimeoutError, OSError):
                return None, "classifier late" if self.state == "ready" else f"classifier {self.state}"
            self._keep(key, found)
        return self._judged(found)

    async def run(self) -> None:
        """Keep the process running until this is cancelled."""
        pause = _PAUSE
        clock = asyncio.get_running_loop().time
        while True:
            began = clock()
            with suppress(OSError, ValueError):
                await self._live()
            pause = _PAUSE if clock() - began > _LAST_PAUSE else pause
            LOG.warning("the classifier of routes is down; the default answers. Next try in %.0f s", pause)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LAST_PAUSE)

    async def _live(self) -> None:
        """One life of the process: its settings in, then answers until it ends."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            "src.serve.routing.example_process",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", **os.environ},
            limit=_LINE,
        )
        if not (process.stdin and process.stdout and process.stderr):
            raise OSError("the process has no pipes")
        self.pid = process.pid
        said = asyncio.ensure_future(_last_words(process.stderr))
        try:
            settings = {"embedder": self.settings.embedder.model_dump(), "examples": self.examples, "neighbours": self.settings.neighbours}
            process.stdin.write(json.dumps(settings).encode() + b"\n")
            await self._listen(process.stdin, process.stdout)
            LOG.warning("the classifier of routes ended: %s", redact(await said)[-300:])
        finally:
            self._end()
            with suppress(ProcessLookupError):
                process.kill()
            said.cancel()
            await asyncio.shield(process.wait())

    async def _listen(self, sink: asyncio.StreamWriter, source: asyncio.StreamReader) -> None:
        while line := await source.readline():
            row = json.loads(line)
            if row.get("ready"):
                self._input, self.state = sink, "ready"
                LOG.info("the classifier of routes is ready")
            elif (waiting := self._asked.get(row["id"])) and not waiting.done():
                waiting.set_result(row)

    async def _ask(self, sink: asyncio.StreamWriter, text: str) -> dict[str, Any]:
        number = next(self._numbers)
        answer = self._asked[number] = asyncio.get_running_loop().create_future()
        try:
            sink.write(json.dumps({"id": number, "prompt": text}).encode() + b"\n")
            return await asyncio.wait_for(answer, self.settings.timeout)
        finally:
            self._asked.pop(number, None)

    def _keep(self, key: bytes, found: dict[str, Any]) -> None:
        self._known[key] = found
        if len(self._known) > _KEPT:
            self._known.popitem(last=False)

    def _judged(self, found: dict[str, Any]) -> tuple[str | None, str]:
        task, score, margin = found["task"], found["score"], found["margin"]
        if score < self.settings.threshold:
            return None, f"no example near ({score:.2f})"
        if margin < self.settings.margin:
            return None, f"between tasks ({margin:.2f})"
        return task, f"task {task} ({score:.2f})".encode("ascii", "replace").decode()

    def _end(self) -> None:
        self._input, self.pid, self.state = None, None, "down"
        for waiting in self._asked.values():
            if not waiting.done():
                waiting.set_exception(ConnectionResetError())


async def _last_words(source: asyncio.StreamReader) -> str:
    """What the process wrote, read away so that it never waits for that; the end of it."""
    text = b""
    while data := await source.read(4096):
        text = (text + data)[-2000:]
    return text.decode(errors="replace").strip()
