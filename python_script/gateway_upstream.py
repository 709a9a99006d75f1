"""A stand-in for an engine that costs next to nothing: answers chat requests at once, or as a stream at a steady pace.

python python_script/gateway_upstream.py --port 9001 --chunks 64 --gap 0.02
"""

import argparse
import asyncio
import json
import re

HEAD = {"id": "chatcmpl-1", "created": 1, "model": "stand-in"}
WORDS = "the lamp is lit and the keeper reads on until the morning comes over the water again " * 5
USAGE = {"prompt_tokens": 120, "completion_tokens": 64, "total_tokens": 184}
LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
STREAM = re.compile(rb'"stream" ?: ?true')


def whole() -> bytes:
    """A complete answer of some 0.6 kB."""
    choice = {"index": 0, "message": {"role": "assistant", "content": WORDS[:420]}, "logprobs": None, "finish_reason": "stop"}
    body = json.dumps({**HEAD, "object": "chat.completion", "choices": [choice], "usage": USAGE}).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body


def event(delta: dict, finish: str | None = None) -> bytes:
    """One event of a stream, in an HTTP chunk of its own."""
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return chunk(b"data: " + json.dumps({**HEAD, "object": "chat.completion.chunk", "choices": [choice]}).encode() + b"\n\n")


def chunk(data: bytes) -> bytes:
    """An HTTP chunk."""
    return b"%x\r\n" % len(data) + data + b"\r\n"


WHOLE = whole()
START = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
PIECE = event({"content": " lamp"})
LAST = chunk(b"data: " + json.dumps({**HEAD, "object": "chat.completion.chunk", "choices": [], "usage": USAGE}).encode() + b"\n\n")
END = event({}, "stop") + LAST + chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"


class Upstream(asyncio.Protocol):
    """One connection; requests come one after the other."""

    def __init__(self, chunks: int, gap: float) -> None:
        self.chunks, self.gap = chunks, gap
        self.data = b""
        self.timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Begin."""
        self.transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        """The client left: so does its stream."""
        if self.timer:
            self.timer.cancel()

    def data_received(self, data: bytes) -> None:
        """Answer whole requests."""
        self.data += data
        while (at := self.data.find(b"\r\n\r\n")) >= 0:
            found = LENGTH.search(self.data, 0, at)
            end = at + 4 + (int(found[1]) if found else 0)
            if len(self.data) < end:
                return
            body, self.data = self.data[at + 4 : end], self.data[end:]
            if STREAM.search(body):
                self.transport.write(START + PIECE)
                self.step(1)
            else:
                self.transport.write(WHOLE)

    def step(self, number: int) -> None:
        """Write the next piece of a stream when its time has come."""
        loop = asyncio.get_running_loop()
        if not self.gap:
            self.transport.write(PIECE * (self.chunks - 1) + END)
        elif number >= self.chunks:
            self.transport.write(END)
        else:
            self.timer = loop.call_later(self.gap, self.next, number)

    def next(self, number: int) -> None:
        """Write one piece."""
        self.transport.write(PIECE)
        self.step(number + 1)


async def serve(port: int, chunks: int, gap: float) -> None:
    """Listen until the end."""
    server = await asyncio.get_running_loop().create_server(lambda: Upstream(chunks, gap), "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--chunks", type=int, default=64)
    parser.add_argument("--gap", type=float, default=0.02, help="seconds between two pieces of a stream; 0 writes all at once")
    given = parser.parse_args()
    import uvloop

    uvloop.run(serve(given.port, given.chunks, given.gap))
