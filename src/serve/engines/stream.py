"""The bytes of an upstream's stream as they come, and the one place where such an answer ends."""

from collections.abc import Callable

import aiohttp

from src.serve.request import RequestError

DONE = b"[DONE]"
FINISHED = (b'"finish_reason":"', b'"finish_reason": "')
TAIL = 4096  # bytes from the end in which a stream has to say that it is whole


class Stream:
    """Yields bytes. What breaks off is an error, and so is what ends without saying that it is whole."""

    def __init__(self, response: aiohttp.ClientResponse, first: bytes, name: str, left: Callable[[], None]) -> None:
        """`left` is called once, whichever way it ends."""
        self._response, self._first, self._name, self._left = response, first, name, left
        self._read = response.content.readany
        self._tail = first
        self._ended = False

    def __aiter__(self) -> "Stream":
        return self

    async def __anext__(self) -> bytes:
        """The next bytes."""
        if self._first:
            data, self._first = self._first, b""
            return data
        try:
            data = await self._read()
        except TimeoutError:
            raise self._broken("fell silent", 504, "upstream_timeout") from None
        except (aiohttp.ClientError, OSError):
            raise self._broken("broke off", 502, "upstream_broke_off") from None
        if data:
            self._tail = data if len(data) >= TAIL else self._tail[-TAIL:] + data
            return data
        self._end()
        if DONE not in self._tail and not any(mark in self._tail for mark in FINISHED):
            raise self._broken("ended before its end", 502, "upstream_broke_off")
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Leave it, be it whole or not: what is not ends the upstream's work."""
        self._end()

    def _broken(self, how: str, status: int, code: str) -> RequestError:
        self._end()
        return RequestError(status, f"the answer of {self._name} {how}", kind="server_error", code=code)

    def _end(self) -> None:
        if not self._ended:
            self._ended = True
            self._response.close() if not self._response.content.at_eof() else self._response.release()
            self._left()
