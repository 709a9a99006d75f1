"""An OpenAI-compatible upstream that answers well or badly as it is told: raw sockets, so that it can break any rule of HTTP.

    python test/servers/faulty.py --port 9000 --mood cut

`POST /mood` with a name changes its mood while it runs; `GET /seen` tells how many requests it had, and how many were left.
"""

import argparse
import asyncio
import contextlib
import gzip
import json
import socket
import struct
import sys
import threading
import time
from dataclasses import dataclass, field

WORDS = ["The ", "lämp ", "🌊 ", "is ", "lit", "."]
USAGE = {"prompt_tokens": 7, "completion_tokens": len(WORDS), "total_tokens": 7 + len(WORDS)}


def chunk(delta=None, finish=None, **more) -> dict:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": choices, **more}


def event(value) -> bytes:
    return b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n"


def events(*, usage: bool) -> list[bytes]:
    """A good stream: one event a word, then the usage where it was asked for, then [DONE]."""
    found = [event(chunk({"role": "assistant", "content": ""}))]
    found += [event(chunk({"content": word})) for word in WORDS]
    found.append(event(chunk({}, "stop")))
    if usage:
        found.append(event(chunk(usage=USAGE)))
    return [*found, b"data: [DONE]\n\n"]


def whole() -> dict:
    """A good answer."""
    message = {"role": "assistant", "content": "".join(WORDS)}
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
    return {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m", "choices": choices, "usage": USAGE}


@dataclass
class Request:
    """What was asked, and the way back."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @property
    def asked(self) -> dict:
        return json.loads(self.body or b"{}")

    @property
    def streamed(self) -> bool:
        return bool(self.asked.get("stream"))

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def head(self, status="200 OK", kind="application/json", length=None, **more) -> None:
        size = ("transfer-encoding", "chunked") if length is None else ("content-length", str(length))
        lines = [("content-type", kind), size, *((key.replace("_", "-"), value) for key, value in more.items())]
        await self.send(f"HTTP/1.1 {status}\r\n".encode() + b"".join(f"{k}: {v}\r\n".encode() for k, v in lines) + b"\r\n")

    async def piece(self, data: bytes) -> None:
        await self.send(b"%x\r\n%s\r\n" % (len(data), data))

    async def end(self) -> None:
        await self.send(b"0\r\n\r\n")

    async def reply(self, value, status="200 OK", kind="application/json", **more) -> None:
        data = value if isinstance(value, bytes) else json.dumps(value, ensure_ascii=False).encode()
        await self.head(status, kind, len(data), **more)
        await self.send(data)

    async def stream(self, pieces, pause=0.0) -> None:
        await self.head(kind="text/event-stream")
        for each in pieces:
            await self.piece(each)
            await asyncio.sleep(pause)

    def cut(self) -> None:
        """End the connection with a reset, as a process that died does."""
        self.writer.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    def good(self) -> list[bytes]:
        return events(usage=bool((self.asked.get("stream_options") or {}).get("include_usage")))


async def well(it: Request) -> None:
    if it.path.endswith("/embeddings"):
        given = it.asked["input"]
        count = len(given) if isinstance(given, list) else 1
        rows = [{"object": "embedding", "index": place, "embedding": [0.5, -0.5]} for place in range(count)]
        await it.reply({"object": "list", "model": "m", "data": rows, "usage": {"prompt_tokens": 3, "total_tokens": 3}})
    elif it.streamed:
        await it.stream(it.good())
        await it.end()
    else:
        await it.reply(whole())


async def silent(it: Request) -> None:
    await asyncio.sleep(3600)


async def slow(it: Request) -> None:
    await asyncio.sleep(0.4)
    await well(it)


async def slow_a_little(it: Request) -> None:
    await asyncio.sleep(0.02)
    if it.streamed:
        await it.stream(it.good(), pause=0.01)
        await it.end()
    else:
        await well(it)


async def slow_stream(it: Request) -> None:
    await it.stream(it.good(), pause=0.15)
    await it.end()


async def head_then_silent(it: Request) -> None:
    await it.head(kind="text/event-stream" if it.streamed else "application/json")
    await asyncio.sleep(3600)


async def half_then_silent(it: Request) -> None:
    if it.streamed:
        await it.stream(it.good()[:3])
    else:
        data = json.dumps(whole()).encode()
        await it.head(length=len(data))
        await it.send(data[: len(data) // 2])
    await asyncio.sleep(3600)


async def drip(it: Request) -> None:
    """One byte a second."""
    for byte in b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 5000\r\n\r\n" + b" " * 5000:
        await it.send(bytes([byte]))
        await asyncio.sleep(1)


async def cut(it: Request) -> None:
    """In the middle of a chunk."""
    if it.streamed:
        await it.stream(it.good()[:3])
        await it.send(b'200\r\ndata: {"id":')
    else:
        await it.head(length=5000)
        await it.send(b'{"id": "chatcmpl')
    await asyncio.sleep(0.05)
    it.cut()


async def cut_at_once(it: Request) -> None:
    it.cut()


async def too_many(it: Request) -> None:
    await it.reply({"error": {"message": "slow down", "type": "requests", "code": "rate_limit_exceeded"}}, "429 Too Many Requests")


async def too_many_seconds(it: Request) -> None:
    await it.reply({"error": {"message": "slow down"}}, "429 Too Many Requests", retry_after="1")


async def too_many_date(it: Request) -> None:
    when = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 2))
    await it.reply({"error": {"message": "slow down"}}, "429 Too Many Requests", retry_after=when)


async def too_many_huge(it: Request) -> None:
    await it.reply({"error": {"message": "slow down"}}, "429 Too Many Requests", retry_after="99999999999999")


async def broken(it: Request) -> None:
    await it.reply({"error": {"message": "Traceback: secret inside"}}, "500 Internal Server Error")


async def out_of_memory(it: Request) -> None:
    await it.reply({"error": {"message": "CUDA out of memory: see /srv/secret"}}, "500 Internal Server Error")


async def loading(it: Request) -> None:
    await it.reply({"error": {"message": "Loading model", "type": "unavailable_error"}}, "503 Service Unavailable")


async def vanished(it: Request) -> None:
    await it.reply({"error": {"message": "model 'm' not found", "type": "not_found_error"}}, "404 Not Found")


async def garbage(it: Request) -> None:
    await it.send(bytes(range(256)) * 4)
    it.writer.close()


async def not_json(it: Request) -> None:
    await it.reply(b'{"id": "chatcmpl-1", "choices": [')


async def html(it: Request) -> None:
    await it.reply(b"<html><body>502 Bad Gateway nginx</body></html>", "502 Bad Gateway", "text/html")


async def html_200(it: Request) -> None:
    await it.reply(b"<html><body>Please log in</body></html>", kind="text/html")


async def error_200(it: Request) -> None:
    """200 with an error for its body, as some aggregators send."""
    error = {"error": {"message": "upstream provider failed", "code": 502}}
    if it.streamed:
        await it.stream([event(error)])
        await it.end()
    else:
        await it.reply(error)


async def empty_choices(it: Request) -> None:
    await it.reply(whole() | {"choices": []})


async def no_done(it: Request) -> None:
    if it.streamed:
        await it.stream(it.good()[:-1])
        await it.end()
    else:
        await well(it)


async def error_amid(it: Request) -> None:
    await it.stream([*it.good()[:3], event({"error": {"message": "out of memory", "type": "server_error"}})])
    await it.end()


async def split_utf8(it: Request) -> None:
    """Each byte a chunk of its own."""
    data = b"".join(it.good())
    await it.head(kind="text/event-stream")
    for place in range(len(data)):
        await it.piece(data[place : place + 1])
    await it.end()


async def crlf(it: Request) -> None:
    await it.stream([each.replace(b"\n", b"\r\n") for each in it.good()])
    await it.end()


async def no_space(it: Request) -> None:
    await it.stream([each.replace(b"data: ", b"data:", 1) for each in it.good()])
    await it.end()


async def comments(it: Request) -> None:
    await it.stream([piece for each in it.good() for piece in (b": OPENROUTER PROCESSING\n\n", each)])
    await it.end()


async def huge_event(it: Request) -> None:
    await it.stream([event(chunk({"content": "x" * 3_000_000})), *it.good()])
    await it.end()


async def endless_event(it: Request) -> None:
    """One event that never ends."""
    await it.head(kind="text/event-stream")
    await it.piece(b"data: ")
    while True:
        await it.piece(b"x" * 1_000_000)


async def redirect(it: Request) -> None:
    await it.reply({}, "307 Temporary Redirect", location="http://169.254.169.254/latest/meta-data/")


async def short_length(it: Request) -> None:
    """The declared length is larger than what comes."""
    data = json.dumps(whole()).encode()
    await it.head(length=len(data) + 100)
    await it.send(data)
    it.writer.close()


async def extra_bytes(it: Request) -> None:
    """More comes than was declared: what would be the answer to the next question."""
    data, wrong = json.dumps(whole()).encode(), json.dumps(whole() | {"choices": []}).encode()
    await it.head(length=len(data))
    await asyncio.sleep(0.02)
    await it.send(data + b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(wrong) + wrong)


async def until_the_end(it: Request) -> None:
    """HTTP/1.0: an answer without a length, which is whole when the connection ends."""
    kind = b"text/event-stream" if it.streamed else b"application/json"
    data = b"".join(it.good()) if it.streamed else json.dumps(whole()).encode()
    await it.send(b"HTTP/1.0 200 OK\r\ncontent-type: " + kind + b"\r\n\r\n" + data)
    it.writer.close()


async def continues(it: Request) -> None:
    """Two answers of 100 and 103 before the one that counts."""
    await it.send(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>; rel=preload\r\n\r\n")
    await well(it)


async def endless_head(it: Request) -> None:
    """Headers that never end."""
    await it.send(b"HTTP/1.1 200 OK\r\n")
    while True:
        await it.send(b"x-a: " + b"a" * 10_000 + b"\r\n")


async def gzipped(it: Request) -> None:
    data = gzip.compress(json.dumps(whole()).encode())
    await it.head(length=len(data), content_encoding="gzip")
    await it.send(data)


async def closes(it: Request) -> None:
    """Answers well and closes the connection that it promised to keep."""
    await well(it)
    it.writer.close()


async def fragmented_tools(it: Request) -> None:
    call = {"index": 0, "id": "c1", "type": "function", "function": {"name": "set_lamp", "arguments": ""}}
    parts = ['{"st', 'ate": "', "on", '"}']
    deltas = [{"role": "assistant", "content": None, "tool_calls": [call]}]
    deltas += [{"tool_calls": [{"index": 0, "function": {"arguments": part}}]} for part in parts]
    await it.stream([*(event(chunk(each)) for each in deltas), event(chunk({}, "tool_calls")), *it.good()[-2:]])
    await it.end()


async def ticking(it: Request) -> None:
    """A stream that goes on until the client leaves."""
    await it.head(kind="text/event-stream")
    while True:
        await it.piece(event(chunk({"content": "tick "})))
        await asyncio.sleep(0.01)


async def flood(it: Request) -> None:
    """As fast as it is read, without an end."""
    await it.head(kind="text/event-stream")
    data = event(chunk({"content": "x" * 8_000}))
    while True:
        await it.piece(data)


async def _gone(reader) -> None:
    while not reader.at_eof():
        await asyncio.sleep(0.005)


MOODS = {name: each for name, each in list(globals().items()) if asyncio.iscoroutinefunction(each) and not name.startswith("_")}


@dataclass
class Faulty:
    """The upstream, in a thread of its own or in a process."""

    mood: str = "well"
    script: list[str] = field(default_factory=list)
    """Moods of the next requests; then `mood`."""
    seen: list[dict] = field(default_factory=list)
    """Bodies of the requests so far."""
    raw: list[bytes] = field(default_factory=list)
    headers: list[dict] = field(default_factory=list)
    left: int = 0
    """Answers whose client left before their end."""
    left_at: float = 0.0
    health: int = 200
    looked: int = 0
    """Requests that asked for no answer of a model."""
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    async def serve(self) -> asyncio.Server:
        server = await asyncio.start_server(self._connection, "127.0.0.1", self.port, limit=1 << 24)
        self.port = server.sockets[0].getsockname()[1]
        return server

    @contextlib.contextmanager
    def running(self):
        """Serve from a thread."""
        loop, ready = asyncio.new_event_loop(), threading.Event()

        async def main():
            self._stop = asyncio.Event()
            server = await self.serve()
            ready.set()
            await self._stop.wait()
            server.close()
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for each in tasks:
                each.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        def run():
            loop.run_until_complete(main())
            loop.close()

        thread = threading.Thread(target=run)
        thread.start()
        assert ready.wait(10)
        try:
            yield self
        finally:
            loop.call_soon_threadsafe(self._stop.set)
            thread.join(10)
            assert not thread.is_alive()

    async def _connection(self, reader, writer) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while not writer.is_closing():
                request = await self._read(reader, writer)
                if request is None:
                    break
                await self._answer(request)
        with contextlib.suppress(OSError):
            writer.close()

    async def _read(self, reader, writer) -> Request | None:
        head = await reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {key.lower(): value.strip() for key, _, value in (line.partition(":") for line in lines if line)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        method, path, _ = first.split(" ", 2)
        return Request(method, path, headers, body, reader, writer)

    async def _answer(self, request: Request) -> None:
        if request.path == "/mood":
            self.mood = request.body.decode()
            return await request.reply({"mood": self.mood})
        if request.path == "/seen":
            return await request.reply({"requests": len(self.seen), "left": self.left, "ids": [each.get("user") for each in self.seen]})
        if request.path == "/forget":
            self.seen.clear()
            return await request.reply({})
        if request.method == "GET":
            self.looked += 1
            status = "200 OK" if self.health == 200 else f"{self.health} Odd"
            models = {"object": "list", "data": [{"id": "m", "object": "model", "created": 1, "owned_by": "faulty"}]}
            return await request.reply(models if request.path.endswith("/models") else {}, status)
        self.seen.append(request.asked)
        self.raw.append(request.body)
        self.headers.append(request.headers)
        mood = self.script.pop(0) if self.script else self.mood
        work = asyncio.ensure_future(MOODS[mood](request))
        gone = asyncio.ensure_future(_gone(request.reader))
        try:
            await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                self.left, self.left_at = self.left + 1, time.monotonic()
                raise ConnectionResetError
            if isinstance(work.exception(), OSError):
                self.left, self.left_at = self.left + 1, time.monotonic()
            work.result()
        finally:
            for each in (work, gone):
                each.cancel()
            await asyncio.gather(work, gone, return_exceptions=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--mood", default="well", choices=MOODS)
    given = parser.parse_args()

    async def forever() -> None:
        faulty = Faulty(mood=given.mood, port=given.port)
        server = await faulty.serve()
        sys.stdout.write(faulty.url + "\n")
        sys.stdout.flush()
        await server.serve_forever()

    asyncio.run(forever())
