"""A server with a door, and behind it an engine that says what the test wants."""

import asyncio
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

from src.serve.access.keys import Keys
from src.serve.access.open_guard import open_guard
from src.serve.access.settings import Access
from src.serve.reply import DONE, JSON, SSE, Reply, Shape, encoded, usage


class Scripted:
    """Answers with a text of as many words as it says tokens were used, once `go` is set."""

    state = "ready"
    paths = frozenset(("/v1/chat/completions",))

    def __init__(self, text="the lamp is lit", prompt=7):
        self.text, self.prompt = text, prompt
        self.go = threading.Event()
        self.go.set()
        self.asked = 0
        self.seen = []

    async def run(self):
        pass

    async def stop(self):
        pass

    async def ask(self, request):
        self.asked += 1
        self.seen.append(request)
        while not self.go.is_set():
            await asyncio.sleep(0.01)
        stream = request.fields.stream
        return Reply(200, SSE if stream else JSON, self._events(request) if stream else self._whole())

    async def _whole(self):
        words = len(self.text.split())
        yield encoded(Shape("keeper").whole({"role": "assistant", "content": self.text}, "stop", usage(self.prompt, words)))

    async def _events(self, request):
        shape, words = Shape("keeper"), self.text.split()
        data = b"".join(shape.chunk({"content": f"{word} "}, usage=None) for word in words)
        yield data[:37]  # as a socket cuts them
        yield data[37:]
        while not self.go.is_set():
            await asyncio.sleep(0.01)
        if request.fields.stream_options and request.fields.stream_options.include_usage:
            yield shape.last(usage(self.prompt, len(words)))
        yield DONE


@pytest.fixture
def scripted():
    return Scripted()


class Guarded:
    """A server with a door, its engine, its guard and its keys."""

    folder = Path("serve")

    @staticmethod
    def access(**given):
        return Access.model_validate({"roles": {"user": {}}, **given})

    def key(self, role="user", **given):
        return Keys(self.folder).create(name="ann", role=role, days=None, **given)[1]

    @contextmanager
    def running(self, web, engine, access, **options):
        guard = open_guard(access, self.folder)
        with web.running(engine, guard=guard, **options) as address:
            yield address


@pytest.fixture
def guarded():
    return Guarded()
