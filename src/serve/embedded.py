"""The engine inside the server: one model, one thread for it, one answer at a time, and a short queue."""

import asyncio
import gc
import logging
from collections.abc import AsyncGenerator, Callable, Iterator
from collections.abc import Generator as Steps
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from typing import Any, TypeVar

from src.models.generate import Completion
from src.serve.answer import Answer
from src.serve.local import Local
from src.serve.reply import DONE, JSON, SSE, Reply, Shape, encoded, tool_calls, usage
from src.serve.request import CHAT, Call, UnavailableError
from src.serve.spent import spent

LOG = logging.getLogger("mlx.serve")
T = TypeVar("T")
RETRY = {"retry-after": "2"}


class Embedded:
    """Answers chat requests with a model in this process."""

    paths = frozenset((CHAT,))

    def __init__(self, make: Callable[[], Local], *, name: str, queue: int) -> None:
        """Prepare; `run` loads.

        Args:
            make: Loads the model; called in the model's thread.
            name: What clients call the model.
            queue: How many requests may wait while one is answered.
        """
        self.state = "loading"
        self.on_demand = False
        """Whether `load` and `unload` decide when the model is in memory."""
        self._make = make
        self._name = name
        self._queue = queue
        self._inside = 0
        self._turn = asyncio.Lock()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._local: Local | None = None

    async def run(self) -> None:
        """Load the model, unless that waits for a request."""
        try:
            if not self.on_demand:
                await self.load()
        except BaseException:
            self.state = "failed"
            raise
        self.state = "ready"

    async def load(self) -> None:
        """Load the model."""
        self._local = await self._do(self._make)

    async def unload(self) -> None:
        """Let go of the model."""
        self._local = None
        await self._do(_freed)

    async def look(self) -> bool:
        """Whether it is loaded."""
        return self._local is not None

    async def stop(self) -> None:
        """Take no more work; the thread ends with the step that it is at."""
        self.state = "stopped"
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def ask(self, request: Call) -> Reply:
        """Answer a request.

        Raises:
            UnavailableError: 503 while it loads, and where too many wait; also by the reply's body, before its first bytes.
        """
        if self._local is None:
            raise UnavailableError(503, f"the model is {self.state}", kind="server_error", code=f"model_{self.state}", headers=RETRY)
        prompt = await self._do(self._local.prompt, request)
        pieces = self._pieces(self._local, prompt, request)
        if request.stream:
            return Reply(200, SSE, _events(self._name, request, len(prompt), pieces))
        return Reply(200, JSON, _whole(self._name, request, len(prompt), pieces))

    async def _pieces(self, local: Local, prompt: list[int], request: Call) -> AsyncGenerator[str | Completion]:
        """Yield the text as it comes, an empty piece as it begins, and last the completion."""
        if self._inside > self._queue:
            raise UnavailableError(
                503, f"{self._inside} requests are waiting already; try again soon", kind="server_error", code="overloaded", headers=RETRY
            )
        self._inside += 1
        try:
            async with self._turn:
                yield ""
                steps = local.stream(prompt, request.fields)
                try:
                    while not isinstance(piece := await self._do(_step, steps), Completion):
                        yield piece
                    yield piece
                finally:  # the thread may still be at a step when a client leaves; closing comes after it
                    await asyncio.shield(self._do(steps.close))
        finally:
            self._inside -= 1

    async def _do(self, work: Callable[..., T], *arguments: Any) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work, *arguments)
        except (RuntimeError, MemoryError) as error:
            if not isinstance(error, MemoryError) and not spent(f"{type(error).__name__}: {error}"):
                raise
            LOG.warning("%s runs out of memory: %s", self._name, error)
            raise UnavailableError(
                503, f"{self._name} runs out of memory; a shorter request may do", kind="server_error", code="out_of_memory", headers=RETRY
            ) from None


def _freed() -> None:
    """Give memory back that nothing holds any more."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _step(steps: Steps[str, None, Completion]) -> str | Completion:
    try:
        return next(steps)
    except StopIteration as end:
        done: Completion = end.value
        return done


async def _whole(name: str, request: Call, prompt: int, pieces: AsyncGenerator[str | Completion]) -> AsyncGenerator[bytes]:
    answer = Answer(tools=bool(request.tools()))
    content = []
    done = Completion("")
    async with aclosing(pieces):
        async for piece in pieces:
            if isinstance(piece, Completion):
                done = piece
            else:
                content.append(answer.feed(piece))
    rest, calls = answer.finish()
    message: dict[str, Any] = {"role": "assistant", "content": "".join([*content, rest]), "refusal": None}
    if calls:
        message |= {"content": message["content"] or None, "tool_calls": tool_calls(calls)}
    yield encoded(Shape(name).whole(message, _reason(done, calls), usage(prompt, done.tokens)))


async def _events(name: str, request: Call, prompt: int, pieces: AsyncGenerator[str | Completion]) -> AsyncGenerator[bytes]:
    answer, shape = Answer(tools=bool(request.tools())), Shape(name)
    told = bool((request.body.get("stream_options") or {}).get("include_usage"))
    more: dict[str, Any] = {"usage": None} if told else {}
    begun = False
    async with aclosing(pieces):
        async for piece in pieces:
            if isinstance(piece, Completion):
                for event in _end(shape, answer, piece, more):
                    yield event
                if told:
                    yield shape.last(usage(prompt, piece.tokens))
                yield DONE
            elif not begun:
                begun = True
                yield shape.chunk({"role": "assistant", "content": ""}, **more)
            elif content := answer.feed(piece):
                yield shape.chunk({"content": content}, **more)


def _end(shape: Shape, answer: Answer, done: Completion, more: dict[str, Any]) -> Iterator[bytes]:
    rest, calls = answer.finish()
    if rest:
        yield shape.chunk({"content": rest}, **more)
    for number, call in enumerate(tool_calls(calls)):
        yield shape.chunk({"tool_calls": [{"index": number, **call}]}, **more)
    yield shape.chunk({}, _reason(done, calls), **more)


def _reason(done: Completion, calls: list[Any]) -> str:
    return "tool_calls" if calls and done.finish_reason == "stop" else done.finish_reason
