"""Ask a model about many texts side by side, within its limits and the budget, and stop early where no answer is to be had."""

import asyncio
import random
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from hashlib import blake2b
from itertools import islice
from typing import Any

from src.llm.asking.answers import Answers
from src.llm.asking.batches import unlisted
from src.llm.asking.budget import Purse
from src.llm.asking.meter import Meter
from src.llm.asking.questions import Question, Questions
from src.llm.asking.standing import MISSING, Ask, Standing
from src.llm.client import BackendError, Client, Reply, Usage
from src.llm.event_loop import run_to_end
from src.llm.limits import Limits
from src.llm.patience import patiently, pause

PATIENCE = 5
"""Calls that may fail one after another before the run stops; run again, it goes on from there."""
_BREATH = 200
"""Chunks with all answers that are passed over before calls under way get their turn."""


class _Stopped(Exception):  # noqa: N818
    """Another call ended the run."""


class Calls:
    """The calls of one run: only for questions without an answer, each once."""

    def __init__(
        self,
        open_client: Callable[[], Client],
        standing: Standing,
        *,
        job: str = "",
        purse: Purse | None = None,
        make_limits: Callable[[], Limits] = Limits,
        concurrency: int = 4,
        max_retries: int = 0,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Make ready; the client is opened once a question needs it, so that a run with all answers needs no key.

        Args:
            open_client: Connects to the model.
            standing: Tells what is to be asked.
            job: The work that calls are paid for.
            purse: The budget.
            make_limits: The rates, made in the loop that keeps to them.
            concurrency: Calls at a time.
            max_retries: Further tries of a call.
            sleep: Waits between tries.
        """
        self.open_client = open_client
        self.standing = standing
        self.job = job
        self.purse = purse or Purse(None, None)
        self.make_limits = make_limits
        self.concurrency = concurrency
        self.max_retries = max_retries
        self.sleep = sleep
        self.meter = Meter()
        self.made = self.saved = self.retried = self.prompt_tokens = self.completion_tokens = 0
        self.cost = 0.0
        self._chance = random.Random(0)
        self._failures: list[BackendError] = []
        """Those since the last answer."""
        self._stop: BaseException | None = None
        self._under_way: set[asyncio.Task[Any]] = set()
        """Calls that the server has; all others can be dropped at once."""
        self._waiting: set[asyncio.Task[Any]] = set()

    @property
    def answers(self) -> Answers:
        """Where answers are kept."""
        return self.standing.answers

    @property
    def questions(self) -> Questions:
        """How questions are put."""
        return self.standing.questions

    def figures(self) -> dict[str, Any]:
        """What it came to, for the manifest: calls answered, rows that needed none, tokens, money."""
        tokens = {"prompt": self.prompt_tokens, "completion": self.completion_tokens}
        figures = {"calls": self.made, "cached": self.saved, "failed": len(self.standing.failed), "retries": self.retried, "tokens": tokens}
        return figures | ({"cost": round(self.cost, 6), "spent": round(self.purse.spent, 6)} if self.purse.price else {})

    def put(self, texts: Iterable[str]) -> None:
        """Ask about each text until its row is decided.

        Raises:
            BackendError: Where no further call could fare better, five fail in a row, or none is answered at all.
            BudgetSpent: Where the next call may cost more than is left.
        """
        chunks = self._chunks(texts)
        if (first := next(filter(None, chunks), None)) is not None:
            run_to_end(self._put(first, chunks))
        if self._failures and not self.made + self.saved:
            raise self._failures[0]

    def _chunks(self, texts: Iterable[str]) -> Iterator[list[str]]:
        """Texts that share a batch, by their place among all: after a kill they are the same ones; now and then an empty chunk."""
        unique = self._unique(texts)
        passed = 0
        while chunk := list(islice(unique, self.standing.batch)):
            waiting = [text for text in chunk if isinstance(self.standing.of(text), Ask)]
            self.saved += len(chunk) - len(waiting)
            passed = 0 if waiting else passed + 1
            if waiting or passed % _BREATH == 0:
                yield waiting

    def _unique(self, texts: Iterable[str]) -> Iterator[str]:
        seen: set[bytes] = set()
        for text in texts:
            mark = blake2b(self.questions.shown(text).encode(), digest_size=16).digest()
            if mark in seen:
                self.saved += 1
            else:
                seen.add(mark)
                yield text

    async def _put(self, first: list[str], rest: Iterator[list[str]]) -> None:
        """Keep enough chunks under way; whatever ends this early, calls under way end first, and their answers are kept."""
        with self.open_client() as client:
            self._begin()
            pending = {asyncio.create_task(self._settle(client, first))}
            try:
                for chunk in rest:
                    if not chunk:
                        await asyncio.sleep(0)
                        continue
                    if len(pending) >= 2 * self.concurrency:  # more than there are slots: those that wait to try again hold none
                        pending = await _some_done(pending)
                    pending.add(asyncio.create_task(self._settle(client, chunk)))
                while pending:
                    pending = await _some_done(pending)
            except BaseException as error:
                self._stop = self._stop or error
                if isinstance(error, _Stopped):
                    raise self._stop from None
                raise
            finally:
                await self._end(pending)
                await client.leave()

    def _begin(self) -> None:
        """Make what belongs to one loop."""
        self._slots = asyncio.Semaphore(self.concurrency)
        self._limits = self.make_limits()
        self.purse.begin()
        self._stop = None

    async def _end(self, pending: set[asyncio.Task[None]]) -> None:
        """Wait for the calls that the server has; drop those that wait for their turn."""
        for task in self._waiting - self._under_way:
            task.cancel()
        if pending:
            await asyncio.gather(*pending, return_exceptions=True)

    async def _settle(self, client: Client, texts: Sequence[str]) -> None:
        """Ask until each text is decided."""
        while asks := [found for text in texts if isinstance(found := self.standing.of(text), Ask)]:
            together: defaultdict[int, list[Ask]] = defaultdict(list)
            for each in asks:
                if each.question is None:
                    together[each.draw].append(each)
            work = [self._ask_together(client, several) for several in together.values()]
            work += [self._ask_alone(client, each.key, each.question) for each in asks if each.question]
            ended = await asyncio.gather(*work, return_exceptions=True)
            if error := next((each for each in ended if isinstance(each, BaseException)), None):
                raise error

    async def _ask_alone(self, client: Client, key: str, question: Question) -> None:
        await self._call(client, question, lambda reply: [(key, reply)], [key])

    async def _ask_together(self, client: Client, asks: Sequence[Ask]) -> None:
        keys = [each.key for each in asks]
        question = self.questions.together([each.text for each in asks], asks[0].draw)
        await self._call(client, question, lambda reply: _shared(reply, keys), keys)

    async def _call(
        self, client: Client, question: Question, split: Callable[[Reply], list[tuple[str, Reply]]], keys: Sequence[str]
    ) -> None:
        """Make one call, again where that may help."""
        self._waiting.add(task := _this_task())
        try:
            await self._patiently(client, question, split, keys)
        finally:
            self._waiting.discard(task)

    async def _patiently(
        self, client: Client, question: Question, split: Callable[[Reply], list[tuple[str, Reply]]], keys: Sequence[str]
    ) -> None:
        try:
            await patiently(
                lambda: self._try(client, question, split),
                slots=self._slots,
                max_retries=self.max_retries,
                chance=self._chance,
                sleep=self._wait,
            )
        except BackendError as error:
            self._note(error, keys)

    async def _wait(self, seconds: float) -> None:
        self.retried += 1
        await self.sleep(seconds)

    async def _try(self, client: Client, question: Question, split: Callable[[Reply], list[tuple[str, Reply]]]) -> None:
        """Make one try within limits and budget, and keep the answer on disk."""
        expected = self.meter.expected(question)
        tokens = expected.prompt + expected.completion
        if self._stop:
            raise _Stopped
        held = await self._hold(question)
        try:
            await self._limits.admit(tokens)
            reply = await self._send(client, question)
        except BackendError as error:
            self.purse.pay(held, None)
            self._limits.refund(tokens)
            if error.throttled:
                self._limits.turned_away(pause(error, 0, self._chance))
            raise
        except BaseException as error:
            self.purse.pay(held, None)
            self._stop = self._stop or error
            raise
        self._keep(question, reply, split(reply), held=held, expected=tokens)

    async def _send(self, client: Client, question: Question) -> Reply:
        if self._stop:
            raise _Stopped
        self._under_way.add(task := _this_task())
        try:
            return await client.ask(
                question.messages,
                max_tokens=question.max_tokens,
                temperature=self.questions.temperature,
                seed=question.draw if self.standing.votes > 1 else None,
                schema=question.form,
            )
        finally:
            self._under_way.discard(task)

    async def _hold(self, question: Question) -> float:
        try:
            return await self.purse.hold(self.meter.most(question))
        except BaseException as error:
            self._stop = self._stop or error
            raise

    def _keep(self, question: Question, reply: Reply, replies: list[tuple[str, Reply]], *, held: float, expected: int) -> None:
        used = self.meter.note(question, reply.usage)
        cost = self.purse.pay(held, used)
        self.answers.keep(replies, self.standing.model, job=self.job, usage=reply.usage, cost=cost)
        self._limits.settle(expected=expected, used=used.prompt + used.completion)
        self.made += 1
        self.cost += cost
        self.prompt_tokens += reply.usage.prompt
        self.completion_tokens += reply.usage.completion
        self._failures.clear()

    def _note(self, error: BackendError, keys: Sequence[str]) -> None:
        """Take note of a call without an answer, and stop where there is none to be had."""
        if error.of_request and len(keys) > 1:
            self.standing.apart.update(keys)  # one of its rows may be too long or not allowed
            return
        self.standing.failed.update(dict.fromkeys(keys, str(error)))
        self._failures.append(error)
        # one row after another may be too long or not allowed; where none gets through it is no matter of rows
        hopeless = len(self._failures) >= PATIENCE and not (error.of_request and self.made + self.saved)
        if error.final or hopeless:
            self._stop = self._stop or error
            raise error


def _this_task() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task  # noqa: S101 (we are in one)
    return task


async def _some_done(pending: set[asyncio.Task[None]]) -> set[asyncio.Task[None]]:
    """Wait for a task to end, and let its error be ours; return those still under way."""
    done, waiting = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
    pending.difference_update(done)
    if errors := [error for each in done if (error := each.exception())]:  # every one is looked at, or the loop complains of it
        raise next((each for each in errors if not isinstance(each, _Stopped)), errors[0])
    return waiting


def _shared(reply: Reply, keys: Sequence[str]) -> list[tuple[str, Reply]]:
    """The answer of a batch, one for each of its rows; the first has what tokens cannot be shared evenly."""
    found = unlisted(reply.text, len(keys))
    prompt, completion = reply.usage.prompt, reply.usage.completion
    even = Usage(prompt // len(keys), completion // len(keys))
    first = Usage(prompt - even.prompt * (len(keys) - 1), completion - even.completion * (len(keys) - 1))
    return [
        (key, Reply("" if said is None else said, even if number else first, "stop" if said is not None else MISSING))
        for number, (key, said) in enumerate(zip(keys, found, strict=True))
    ]
