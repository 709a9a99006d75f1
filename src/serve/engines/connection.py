"""One connection to a server: sends a request and reads its answer, in whatever pieces that comes."""

import asyncio
import time
from collections.abc import Callable

import httptools

LARGEST_HEAD = 256 << 10  # bytes of an answer's headers
FULL = 256 << 10  # bytes that wait to be read, above which no more are taken from the server


class Answer:
    """What a server answers; `headers` by their names in lower case."""

    __slots__ = ("_connection", "_waiter", "complete", "error", "headed", "headers", "patience", "pieces", "sink", "size", "status")

    def __init__(self, connection: "Connection", patience: float) -> None:
        self._connection: Connection | None = connection
        self._waiter: asyncio.Future[None] | None = None
        self.patience = patience
        """Seconds of silence after which it is given up."""
        self.status = 0
        self.headers: dict[str, str] = {}
        self.headed = False
        self.complete = False
        self.error: BaseException | None = None
        self.pieces: list[bytes] = []
        self.size = 0
        self.sink: Callable[[bytes], bool] | None = None
        """Takes bytes in the turn of the loop in which they come."""

    async def more(self) -> bytes:
        """The next bytes of the body, none at its end; raises as `Wire.send` does."""
        while not self.pieces:
            if self.complete:
                return b""
            await self.wait()
        pieces, self.pieces = self.pieces, []
        if self.size > FULL and self._connection:
            self._connection.go_on()
        self.size = 0
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def flow(self, sink: Callable[[bytes], bool]) -> None:
        """Have `sink` take bytes as they come, without waking anybody; returns when it leaves some to `more`, or none come any more."""
        self.sink = sink
        try:
            while not (self.pieces or self.complete):
                await self.wait()
        finally:
            self.sink = None

    def leave(self) -> None:
        """Have no more of it: where it is not whole the server is told by the connection's end."""
        if self._connection:
            connection, self._connection = self._connection, None
            connection.free()

    async def wait(self) -> None:
        """Wait until something comes."""
        if self.error or self._connection is None:
            raise self.error or ConnectionError("left")
        self._waiter = self._connection.loop.create_future()
        self._connection.watch(self.patience)
        try:
            await self._waiter
        finally:
            self._waiter = None

    @property
    def waits(self) -> bool:
        """Whether somebody waits for more."""
        return self._waiter is not None

    def wake(self) -> None:
        """Something has come."""
        if self._waiter and not self._waiter.done():
            self._waiter.set_result(None)


class Connection(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self, free: "list[Connection]", open_ones: "set[Connection]") -> None:
        self.loop = asyncio.get_running_loop()
        self.transport: asyncio.Transport
        self.freed = 0.0
        """When its last request ended."""
        self._free, self._open = free, open_ones
        self._parser = httptools.HttpResponseParser(self)
        self._answer: Answer | None = None
        self._paused = self._again = False
        self._until = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def ask(self, data: bytes, patience: float) -> Answer:
        """Send a request, with those of others that begin in this turn of the loop: the server is woken once for all."""
        self._answer = Answer(self, patience)
        self.loop.call_soon(self.transport.write, data)  # nothing, where whoever asks has left before
        return self._answer

    def free(self) -> None:
        """The request under way has ended, or nobody wants it any more."""
        answer, self._answer = self._answer, None
        if answer and answer.complete and self._again and not self.transport.is_closing() and not self.transport.get_write_buffer_size():
            self.go_on()
            self.freed = time.monotonic()
            self._free.append(self)
        else:
            self.transport.abort()

    def go_on(self) -> None:
        """Take more from the server again."""
        if self._paused:
            self._paused = False
            self.transport.resume_reading()

    def watch(self, patience: float) -> None:
        """Give up after so many seconds of silence; one timer that is late at first serves many waits."""
        self._until = self.loop.time() + patience
        if self._timer is None or self._timer.when() > self._until:
            self._rearm()

    def _rearm(self) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = self.loop.call_at(self._until, self._rang)

    def _rang(self) -> None:
        self._timer = None
        if self._answer is None or not self._answer.waits:
            return
        if self.loop.time() < self._until:
            self._rearm()
        else:
            self._fail(TimeoutError())

    def _fail(self, error: BaseException) -> None:
        if self._answer:
            if not self._answer.complete:
                self._answer.error = error
            self._answer.wake()  # one that is whole too: its last bytes may have come with what is none of it
        self.transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It stands."""
        self.transport = transport  # type: ignore[assignment]
        self._open.add(self)

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        answer = self._answer
        if answer is None:
            self.transport.abort()  # nobody has asked
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._fail(ConnectionError("what came is no HTTP"))
            return
        if not answer.headed:
            answer.size += len(data)
            if answer.size > LARGEST_HEAD:
                self._fail(ConnectionError("the headers have no end"))
        elif answer.complete or (answer.pieces and not (answer.sink and self._taken(answer, answer.sink))):
            answer.wake()

    def _taken(self, answer: Answer, sink: Callable[[bytes], bool]) -> bool:
        data = answer.pieces[0] if len(answer.pieces) == 1 else b"".join(answer.pieces)
        if not sink(data):
            return False
        answer.pieces.clear()
        answer.size = 0
        self._until = self.loop.time() + answer.patience
        return True

    def connection_lost(self, error: Exception | None) -> None:
        """It has ended; an answer without a length is whole by that."""
        self._open.discard(self)
        if self in self._free:
            self._free.remove(self)
        if self._timer:
            self._timer.cancel()
        answer = self._answer
        if answer is None or answer.complete:
            return
        if error is None and answer.headed and not {"content-length", "transfer-encoding"} & answer.headers.keys():
            answer.complete = True
        else:
            answer.error = answer.error or ConnectionResetError("the server ended the connection")
        answer.wake()

    def on_message_begin(self) -> None:
        """An answer begins; httptools calls this and what follows."""
        if self._answer is None or self._answer.complete:
            raise ValueError("nobody has asked")

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header has come."""
        self._answer.headers[name.decode("latin-1").lower()] = value.decode("latin-1")  # type: ignore[union-attr]

    def on_headers_complete(self) -> None:
        """All headers have come; those of 100 and its like are no answer."""
        answer: Answer = self._answer  # type: ignore[assignment]
        answer.status = self._parser.get_status_code()
        if answer.status < 200:
            answer.headers.clear()
            return
        answer.size, answer.headed, self._again = 0, True, self._parser.should_keep_alive()
        answer.wake()

    def on_body(self, data: bytes) -> None:
        """A part of the body has come."""
        answer: Answer = self._answer  # type: ignore[assignment]
        answer.pieces.append(data)
        answer.size += len(data)
        if answer.size > FULL and not self._paused:
            self._paused = True
            self.transport.pause_reading()

    def on_message_complete(self) -> None:
        """The answer is whole."""
        if self._answer and self._answer.headed:
            self._answer.complete = True
