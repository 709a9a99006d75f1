"""Ask a model many questions from several threads, and stop early where no answer is to be had."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import chain
from typing import Any

from src.label.answers import Answers
from src.label.questions import Questions
from src.llm.client import BackendError, Client, Reply

PATIENCE = 5
"""Calls that may fail one after another before the run stops; run again, it goes on from there."""


Outcome = tuple[str, Reply | BackendError]
"""A question's key, and what came of it."""


class Calls:
    """The calls of one run: only for questions without an answer, each once."""

    def __init__(self, open_client: Callable[[], Client], model: str, questions: Questions, answers: Answers, *, concurrency: int) -> None:
        """Make ready; the client is opened once a question needs it, so that a run with all answers needs no key."""
        self.open_client = open_client
        self.model = model
        self.questions = questions
        self.answers = answers
        self.concurrency = concurrency
        self.failed: dict[str, str] = {}
        """Why a question, by its key, has no answer."""
        self.made = self.saved = self.prompt_tokens = self.completion_tokens = 0
        self._failures: list[BackendError] = []
        """Those since the last answer."""

    def figures(self) -> dict[str, Any]:
        """What it came to, for the manifest: calls answered, rows that needed none, tokens."""
        tokens = {"prompt": self.prompt_tokens, "completion": self.completion_tokens}
        return {"calls": self.made, "cached": self.saved, "failed": len(self.failed), "tokens": tokens}

    def put(self, texts: Iterable[str]) -> None:
        """Ask about each text whose answer is not there yet.

        Raises:
            BackendError: Where no further call could fare better, five fail in a row, or none is answered at all.
        """
        unanswered = self._unanswered(texts)
        if (first := next(unanswered, None)) is None:
            return
        # the pool is left before the client: calls under way end, and their answers are kept
        with self.open_client() as client, ThreadPoolExecutor(self.concurrency) as pool:
            pending: set[Future[Outcome]] = set()
            for text in chain([first], unanswered):
                pending.add(pool.submit(self._ask, client, text))
                if len(pending) >= self.concurrency:
                    pending = self._settled(pending)
            while pending:
                pending = self._settled(pending)
        if self._failures and not self.made + self.saved:
            raise self._failures[0]

    def _unanswered(self, texts: Iterable[str]) -> Iterator[str]:
        asked: set[str] = set()
        for text in texts:
            key = self.questions.key(text)
            if key in asked or self.answers.get(key):
                self.saved += 1
            else:
                asked.add(key)
                yield text

    def _ask(self, client: Client, text: str) -> Outcome:
        """Make one call, in a thread; its answer is on disk before anything else can go wrong."""
        key = self.questions.key(text)
        try:
            reply = client.chat(self.questions.messages(text), max_tokens=self.questions.max_tokens, temperature=self.questions.temperature)
        except BackendError as error:
            return key, error
        self.answers.put(key, self.model, reply)
        return key, reply

    def _settled(self, pending: set[Future[Outcome]]) -> set[Future[Outcome]]:
        """Wait for a call to end; return those still under way."""
        done, waiting = wait(pending, return_when=FIRST_COMPLETED)
        for each in done:
            self._note(*each.result())
        return waiting

    def _note(self, key: str, outcome: Reply | BackendError) -> None:
        if isinstance(outcome, Reply):
            self.made += 1
            self.prompt_tokens += outcome.usage.prompt
            self.completion_tokens += outcome.usage.completion
            self._failures.clear()
            return
        self.failed[key] = str(outcome)
        self._failures.append(outcome)
        # one row after another may be too long or not allowed; where none gets through it is no matter of rows
        hopeless = len(self._failures) >= PATIENCE and not (outcome.of_request and self.made + self.saved)
        if outcome.final or hopeless:
            raise outcome
