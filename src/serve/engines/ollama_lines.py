"""The lines of an answer that Ollama streams, as OpenAI's events, and the one place where such an answer ends."""

from collections.abc import Callable

from src.serve.engines.client import Response
from src.serve.engines.ollama_wire import Events, failed
from src.serve.request import RequestError

LONGEST_LINE = 16 << 20  # bytes of one line of a stream: a tool call comes in one


class Lines:
    """The lines of a streamed answer as OpenAI's events."""

    def __init__(
        self, response: Response, events: Events, idle: float, check: Callable[[int], RequestError | None], left: Callable[[], None]
    ) -> None:
        """Prepare; `begin` waits for the first line.

        Args:
            response: Where they come from.
            events: Makes events of them.
            idle: Seconds between two pieces.
            check: Tells the error of a prompt that was read in part, from the count of its tokens.
            left: Called once, whichever way it ends.
        """
        self._response, self._events, self._idle, self._check, self._left = response, events, idle, check, left
        self._first = b""
        self._rest = b""
        self._ended = False

    async def begin(self) -> None:
        """Wait for the first events; raises what an answer that came whole would."""
        self._first = await self._next()
        self._response.patience = self._idle

    def __aiter__(self) -> "Lines":
        return self

    async def __anext__(self) -> bytes:
        """The next events."""
        if self._first:
            data, self._first = self._first, b""
            return data
        if self._events.done is not None:
            self._end()
            raise StopAsyncIteration
        try:
            return await self._next()
        except ValueError as error:
            raise self._broken(f"broke off: {error}", 502) from None
        except TimeoutError:
            raise self._broken("fell silent", 504) from None
        except OSError:
            raise self._broken("broke off", 502) from None

    async def aclose(self) -> None:
        """Leave it; Ollama ends its work where the answer is not whole."""
        self._end()

    async def _next(self) -> bytes:
        made = b""
        while not made:
            data = await self._response.more()
            if not data and not self._rest:
                raise ValueError("ended before its end")
            *lines, self._rest = (self._rest + data).split(b"\n") if data else (self._rest, b"")
            if len(self._rest) > LONGEST_LINE:
                raise ValueError("a line without end")
            made = b"".join(self._events.feed(line) for line in lines if line.strip())
        if self._events.done is not None and (error := self._check(int(self._events.done.get("prompt_eval_count") or 0))):
            return failed(error) + made[-len(b"data: [DONE]\n\n") :]
        return made

    def _broken(self, how: str, status: int) -> RequestError:
        self._end()
        return RequestError(status, f"the answer of {self._events.shape.model} {how}", kind="server_error", code="upstream_broke_off")

    def _end(self) -> None:
        if not self._ended:
            self._ended = True
            self._response.leave()
            self._left()
