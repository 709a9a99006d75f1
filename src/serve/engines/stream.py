"""The bytes of an upstream's stream as they come, and the one place where such an answer ends."""

from collections.abc import Callable
from contextlib import suppress

from src.serve.engines.client import Response
from src.serve.request import RequestError

DONE = b"[DONE]"
LAST = b"data: [DONE]\n\n"
ENDS = (b"\n\n", b"\r\n\r\n")
LARGEST = 16 << 20
"""Bytes that one event may have: what never ends is not held for ever."""
FINISHED = (b'"finish_reason":"', b'"finish_reason": "')
TAIL = 4096  # bytes from the end in which a stream has to say that it is whole


class Stream:
    """Yields whole events. What breaks off is an error, and so is what ends without saying that it is whole.

    Half an event is held until the rest has come: an error that follows it would be glued to it, and no client could read either.
    """

    def __init__(self, response: Response, first: bytes, name: str, left: Callable[[], None]) -> None:
        """`left` is called once, whichever way it ends."""
        self._response, self._first, self._name, self._left = response, first, name, left
        self._read = response.more
        self._tail = b""
        self._held = bytearray()
        self._ended = False

    def __aiter__(self) -> "Stream":
        return self

    async def __anext__(self) -> bytes:
        """The next events."""
        while not self._ended:
            try:
                data = self._first or await self._read()
            except TimeoutError:
                raise self._broken("fell silent", 504, "upstream_timeout") from None
            except OSError:
                raise self._broken("broke off", 502, "upstream_broke_off") from None
            if not data:
                return self._last()
            self._first = b""
            self._tail = data if len(data) >= TAIL else self._tail[-TAIL:] + data
            if not self._held and data.endswith(ENDS):
                return data
            if whole := self._whole(data):
                return whole
        raise StopAsyncIteration

    async def flow(self, push: Callable[[bytes], bool]) -> None:
        """Have `push` take events as they come, as long as they come whole and it says True; what follows is for `__anext__`."""

        def pushed(data: bytes) -> bool:
            if not data.endswith(ENDS) or not push(data):
                return False
            self._tail = data if len(data) >= TAIL else self._tail[-TAIL:] + data
            return True

        if not (self._held or self._first or self._ended):
            with suppress(TimeoutError, OSError):  # told by the next that is asked for
                await self._response.flow(pushed)

    def _last(self) -> bytes:
        """What is left when no more comes, once that is known to be the end."""
        self._end()
        if DONE in self._tail:
            rest = bytes(self._held)
        elif any(mark in self._tail for mark in FINISHED):
            rest = bytes(self._held) + (b"\n\n" if self._held else b"") + LAST  # some servers end without; clients wait for it
        else:
            raise self._broken("ended before its end", 502, "upstream_broke_off")
        if not rest:
            raise StopAsyncIteration
        return rest

    def _whole(self, data: bytes) -> bytes:
        """The events that are whole with these bytes; the rest is held."""
        held, before = self._held, len(self._held)
        held += data
        end = max(held.rfind(mark, max(0, before - 3)) + len(mark) if mark in held[max(0, before - 3) :] else 0 for mark in ENDS)
        if not end and len(held) > LARGEST:
            raise self._broken("has an event without end", 502, "upstream_broke_off")
        whole = bytes(held[:end])
        del held[:end]
        return whole

    async def aclose(self) -> None:
        """Leave it, be it whole or not: what is not ends the upstream's work."""
        self._end()

    def _broken(self, how: str, status: int, code: str) -> RequestError:
        self._end()
        return RequestError(status, f"the answer of {self._name} {how}", kind="server_error", code=code)

    def _end(self) -> None:
        if not self._ended:
            self._ended = True
            self._response.leave()
            self._left()
