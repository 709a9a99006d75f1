"""The lean client: connections are used again, and whatever a server does ends in bytes or in an error that says what happened."""

import asyncio
import contextlib
import time

import pytest
import uvloop

from src.serve.engines import wire
from src.serve.engines.client import client
from src.serve.engines.connection import FULL, LARGEST_HEAD
from src.serve.engines.session import Session
from src.serve.engines.wire import UnreachableError, Wire

HELLO = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-type: text/plain\r\n\r\nhello"


class Server:
    """Answers each request by a script: bytes to send, seconds to wait, or `None` to end the connection."""

    def __init__(self, *script):
        self.script = script
        self.connections = 0
        self.asked = []
        self.left = asyncio.Event()
        self.tasks = set()

    async def __aenter__(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"
        return self

    async def __aexit__(self, *_):
        self.server.close()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def serve(self, reader, writer):
        self.tasks.add(asyncio.current_task())
        self.connections += 1
        try:
            await self.answer(reader, writer)
        finally:
            self.left.set()
            writer.transport.abort()

    async def answer(self, reader, writer):
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                self.asked.append(head + await reader.readexactly(length))
                for step in self.script:
                    if step is None:
                        writer.close()
                        await writer.wait_closed()
                        return
                    if isinstance(step, bytes):
                        writer.write(step)
                        await writer.drain()
                    else:
                        await asyncio.sleep(step)


def talk(script, use, run=asyncio.run, **settings):
    """Run `use(client, server)` against a scripted server."""

    async def main():
        async with Server(*script) as server:
            made = Wire(server.url, **{"headers": {"user-agent": "mlx"}, "connect_timeout": 2, "patience": 0.3, **settings})
            try:
                return await asyncio.wait_for(use(made, server), 20)
            finally:
                await made.close()

    return run(main())


async def whole(answer):
    data = b""
    try:
        while piece := await answer.more():
            data += piece
    finally:
        answer.leave()
    return data


async def once(made, server):
    answer = await made.send("POST", "/v1/chat", b"{}")
    return answer.status, await whole(answer)


@pytest.mark.parametrize(
    ("script", "body"),
    [
        ([HELLO], b"hello"),
        ([b"HTTP/1.1 100 Continue\r\n\r\n", HELLO], b"hello"),
        ([b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhel", 0.01, b"lo\r\n2\r\n y\r\n0\r\n\r\n"], b"hello y"),
        ([b"HTTP/1.1 200 OK\r\n\r\nhel", 0.01, b"lo", None], b"hello"),
        ([b"HTTP/1.0 200 OK\r\n\r\nhello", None], b"hello"),
        ([HELLO[:9], 0.01, HELLO[9:40], 0.01, HELLO[40:]], b"hello"),
        ([b"HTTP/1.1 204 No Content\r\n\r\n"], b""),
    ],
    ids=["length", "continue", "chunked", "until its end", "HTTP/1.0", "in pieces", "nothing"],
)
def test_an_answer_is_whole_in_every_form_it_may_have(script, body):
    assert talk(script, once)[1] == body


@pytest.mark.parametrize(
    ("script", "error"),
    [
        ([None], "ended the connection"),
        ([b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nhello", None], "ended the connection"),
        ([b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n", None], "ended the connection"),
        ([b"220 ESMTP ready\r\n\r\n"], "no HTTP"),
        ([b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n"], "no HTTP"),
        ([b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"], "no HTTP"),
        ([b"HTTP/1.1 200 OK\r\n" + b"x-long: " + b"x" * LARGEST_HEAD], "no end"),
    ],
    ids=["gone", "cut", "cut in chunks", "another protocol", "two lengths", "upgrade", "endless head"],
)
def test_what_is_no_answer_is_an_error_that_says_so(script, error):
    with pytest.raises(ConnectionError, match=error):
        talk(script, once)


@pytest.mark.parametrize("script", [[5.0], [HELLO[:-2], 5.0]], ids=["before", "amid"])
def test_silence_is_given_up_within_its_time(script):
    start = time.monotonic()
    with pytest.raises(TimeoutError):
        talk(script, once)
    assert 0.25 < time.monotonic() - start < 4


def test_patience_may_change_once_an_answer_has_begun():
    async def use(made, server):
        answer = await made.send("POST", "/", b"", patience=60)
        assert await answer.more() == b"hel"
        answer.patience = 0.2
        start = time.monotonic()
        with pytest.raises(TimeoutError):
            await answer.more()
        answer.leave()
        return time.monotonic() - start

    assert talk([HELLO[:-2], 5.0], use) < 3


def test_a_connection_serves_one_request_after_the_other_and_several_at_once_have_their_own():
    async def use(made, server):
        for _ in range(5):
            assert (await once(made, server))[1] == b"hello"
        alone = server.connections
        await asyncio.gather(*(once(made, server) for _ in range(3)))
        return alone, server.connections, server.asked[0]

    alone, together, asked = talk([0.02, HELLO], use)
    assert (alone, together) == (1, 3)
    assert asked.startswith(b"POST /v1/chat HTTP/1.1\r\nhost: 127.0.0.1:")
    assert asked.endswith(b"user-agent: mlx\r\ncontent-length: 2\r\n\r\n{}")


@pytest.mark.parametrize(
    "last",
    [b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n", HELLO + b"and more than asked for"],
    ids=["close", "more"],
)
def test_a_connection_that_cannot_be_trusted_is_not_used_again(last):
    async def use(made, server):
        for _ in range(2):
            await once(made, server)
        return server.connections

    assert talk([last], use) == 2


def test_an_old_connection_and_one_that_the_server_ended_are_not_used_again(monkeypatch):
    async def use(made, server):
        await once(made, server)
        monkeypatch.setattr(wire, "KEPT", -1.0)
        await once(made, server)
        return server.connections

    assert talk([HELLO], use) == 2

    async def ended(made, server):
        await once(made, server)
        while made._free:
            await asyncio.sleep(0.01)
        return (await once(made, server))[1], server.connections

    assert talk([HELLO, 0.05, None], ended) == (b"hello", 2)


def test_who_leaves_amid_an_answer_ends_the_servers_work():
    async def use(made, server):
        answer = await made.send("POST", "/", b"")
        await answer.more()
        answer.leave()
        answer.leave()  # twice does no harm
        with pytest.raises(ConnectionError):
            await answer.more()
        await asyncio.wait_for(server.left.wait(), 5)

    talk([b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", *[b"1\r\nx\r\n", 0.01] * 1000], use)


def test_a_slow_reader_makes_the_server_wait():
    piece = b"x" * 65_536

    async def use(made, server):
        answer = await made.send("POST", "/", b"")
        await asyncio.sleep(0.3)
        held = answer.size
        return held, len(await whole(answer))

    length = 400 * len(piece)
    held, total = talk([b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % length, *[piece] * 400], use)
    assert total == length
    assert held < FULL + (1 << 20)


def test_nobody_there_is_told_apart_from_one_who_breaks_off():
    async def use(made, server):
        server.server.close()
        await server.server.wait_closed()
        await made.send("GET", "/")

    with pytest.raises(UnreachableError):
        talk([], use)


def test_a_header_with_a_line_break_is_never_sent():
    with pytest.raises(ValueError, match="line break"):
        Wire("http://127.0.0.1:1", headers={"authorization": "Bearer a\r\nx: y"}, connect_timeout=1, patience=1)


def test_a_proxy_and_tls_are_left_to_the_general_client(monkeypatch):
    async def kinds(*urls):
        made = [client(url, headers={}, connect_timeout=1, patience=1) for url in urls]
        for each in made:
            await each.close()
        return [type(each) for each in made], [each.closed for each in made]

    near, far = "http://127.0.0.1:8000/v1", "http://models.example/v1"
    monkeypatch.delenv("http_proxy", raising=False)
    monkeypatch.delenv("HTTP_PROXY", raising=False)
    assert asyncio.run(kinds(near, far, "https://models.example/v1")) == ([Wire, Wire, Session], [True] * 3)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:3128")
    assert asyncio.run(kinds(near, far))[0] == [Wire, Session]


def test_the_general_client_tells_the_same_through_a_proxy(monkeypatch):
    async def run(script, use):
        async with Server(*script) as proxy:
            monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
            made = client("http://models.example/v1", headers={"user-agent": "mlx"}, connect_timeout=2, patience=0.3)
            try:
                found = await use(made, proxy)
                return found, proxy.asked
            finally:
                await made.close()

    (status, body), asked = asyncio.run(run([HELLO], once))
    assert (status, body) == (200, b"hello")
    assert asked[0].startswith(b"POST http://models.example/v1/chat HTTP/1.1\r\n")
    with pytest.raises(TimeoutError):
        asyncio.run(run([5.0], once))
    with pytest.raises(ConnectionError):
        asyncio.run(run([HELLO[:-2], None], once))
    with pytest.raises(ConnectionError):
        asyncio.run(run([b"220 ESMTP ready\r\n\r\n"], once))

    async def patient(made, server):
        answer = await made.send("POST", "/", b"x", patience=60)
        answer.patience = 0.2
        assert answer.patience == 0.2
        start = time.monotonic()
        with pytest.raises(TimeoutError):
            await whole(answer)
        assert time.monotonic() - start < 5

    asyncio.run(run([HELLO[:-2], 5.0], patient))

    async def nobody(made, server):
        server.server.close()
        await server.server.wait_closed()
        with pytest.raises(UnreachableError):
            await made.send("GET", "/")

    asyncio.run(run([], nobody))


def test_a_sink_takes_pieces_as_they_come_until_it_wants_no_more():
    pieces = [b"5\r\nfirst\r\n", b"4\r\nnext\r\n", b"4\r\nstop\r\n", b"4\r\nlast\r\n0\r\n\r\n"]
    paced = [each for piece in pieces for each in (piece, 0.05)]

    async def use(made, server):
        taken = []
        answer = await made.send("POST", "/", b"")
        await answer.flow(lambda data: data != b"stop" and not taken.append(data))
        rest = [await answer.more()]
        await answer.flow(lambda data: pytest.fail("what is whole is left to `more`"))
        rest.append(await whole(answer))
        return taken, rest

    assert talk([b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", 0.05, *paced], use) == ([b"first", b"next"], [b"stop", b"last"])


def test_a_sink_that_hears_nothing_is_given_up_and_pieces_put_that_off():
    piece = [b"1\r\nx\r\n", 0.15]

    async def use(made, server):
        taken = []
        answer = await made.send("POST", "/", b"")
        start = time.monotonic()
        with pytest.raises(TimeoutError):
            await answer.flow(lambda data: not taken.append(data))
        answer.leave()
        return len(taken), time.monotonic() - start

    count, seconds = talk([b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", 0.05, *piece * 5, 5.0], use)
    assert count == 5
    assert 0.6 < seconds < 4


def test_who_leaves_before_a_request_was_written_sends_nothing_and_breaks_nothing():
    async def use(made, server):
        faults = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, fault: faults.append(fault))
        await once(made, server)
        made._free.pop().ask(b"POST / HTTP/1.1\r\ncontent-length: 0\r\n\r\n", 1).leave()
        await asyncio.sleep(0.1)
        return len(server.asked), faults

    for run in (asyncio.run, uvloop.run):
        assert talk([HELLO], use, run=run) == (1, [])
