"""Asks a model many things side by side, patiently: what fails for good is told, and what no one answers stops early."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Generic, TypeVar

from src.llm.client import BackendError, Client
from src.llm.event_loop import run_to_end
from src.llm.patience import patiently

T = TypeVar("T")
HOPELESS = 5
"""Questions that may fail one after another before all others are given up."""


def ask_all(
    client: Client,
    questions: Mapping[str, Callable[[], Awaitable[T]]],
    *,
    keep: Callable[[str, T], None],
    concurrency: int,
    max_retries: int,
    timeout: float | None,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> dict[str, BackendError]:
    """Ask every question, and hand each answer to `keep` at once; return the questions that got none, and why.

    Args:
        client: Whose connections are let go at the end.
        questions: What makes one try, by the question's name.
        keep: Called in this loop, one answer at a time.
        concurrency: Calls at a time.
        max_retries: Further tries of a question.
        timeout: Seconds for one try, whatever trickles in meanwhile; None for as long as it takes.
        sleep: Waits between tries.

    Raises:
        BackendError: Where no further question could fare better, or five fail in a row.
    """
    crowd = _Crowd(questions, keep, concurrency, max_retries, timeout, sleep)
    return run_to_end(crowd.run(client))


class _Crowd(Generic[T]):
    def __init__(
        self,
        questions: Mapping[str, Callable[[], Awaitable[T]]],
        keep: Callable[[str, T], None],
        concurrency: int,
        max_retries: int,
        timeout: float | None,
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self.questions = questions
        self.keep = keep
        self.concurrency = concurrency
        self.max_retries = max_retries
        self.timeout = timeout
        self.sleep = sleep
        self.chance = random.Random(0)
        self.failed: dict[str, BackendError] = {}
        self.in_a_row = 0

    async def run(self, client: Client) -> dict[str, BackendError]:
        slots = asyncio.Semaphore(self.concurrency)
        names = iter(self.questions)

        async def work() -> None:
            for name in names:  # each worker takes the next one that nobody has
                await self.ask(name, slots)

        # more than there are slots: those that wait to try again hold none
        workers = [asyncio.create_task(work()) for _ in range(min(2 * self.concurrency, len(self.questions)))]
        try:
            await asyncio.gather(*workers)
        finally:
            for each in workers:
                each.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
            await client.leave()
        return self.failed

    async def ask(self, name: str, slots: asyncio.Semaphore) -> None:
        try:
            answer = await patiently(
                lambda: self.once(name), slots=slots, max_retries=self.max_retries, chance=self.chance, sleep=self.sleep
            )
        except BackendError as error:
            self.failed[name] = error
            self.in_a_row += 1
            if error.final or (self.in_a_row >= HOPELESS and not error.of_request):
                raise
        else:
            self.in_a_row = 0
            self.keep(name, answer)

    async def once(self, name: str) -> T:
        try:
            async with asyncio.timeout(self.timeout):
                return await self.questions[name]()
        except TimeoutError:
            raise BackendError(f"no answer in {self.timeout:g} s", "raise `timeout`, or lower `concurrency`", transient=True) from None
