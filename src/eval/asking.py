"""Puts the held-out rows to the models, each question once: in this process, to a vLLM started for it, to an API."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from src.core.config import essence
from src.core.files import digest, to_json
from src.core.run import Run
from src.eval.calls import function_of
from src.eval.cases import Case
from src.eval.engine import EngineChoice, Servers, VllmProcess
from src.eval.held import Coded
from src.eval.models import Remote
from src.eval.predictions import Predictions, by_batches
from src.eval.weights import VERSION, Weights
from src.llm.asking.answers import Answers
from src.llm.client import BackendError, Client, Reply, Usage
from src.llm.crowd import ask_all
from src.llm.wire import on_the_wire
from src.models.generate import Completion, Generator
from src.models.likelihood import negative_log_likelihoods


@dataclass
class Asking:
    """How this run asks."""

    run: Run
    kept: Answers
    engine: EngineChoice
    max_new_tokens: int
    batch_size: int
    made: int = 0
    """Questions that a model was really asked."""
    known: int = 0
    """Questions whose reply was there."""

    def answers(
        self, name: str, weights: Weights, other: Weights | None, coded: Coded, servers: Servers, engine: EngineChoice | None = None
    ) -> dict[str, Reply]:
        """What a model on disk answers, by case."""
        engine = engine or self.engine
        settings = {"engine": engine.type, "max_new_tokens": self.max_new_tokens}
        found = self._known(digest([weights.mark, settings]), coded.prompts)
        if todo := found.missing():
            if isinstance(engine, VllmProcess):
                self._by_vllm(engine, name, weights, {each: coded.prompts[each] for each in todo}, found, servers)
            else:
                self._in_process(name, weights, other, coded.prompts, found)
        return found.all()

    def likelihoods(self, name: str, weights: Weights, other: Weights | None, coded: Coded) -> dict[str, tuple[float, int]]:
        """How likely a model on disk finds what was really said: nats and tokens, by example."""
        rows = coded.encoded
        found = self._known(digest([weights.mark, "likelihood"]), {each: [row.ids, row.mask] for each, row in rows.items()})

        def make(names: list[str]) -> list[Reply]:
            pairs = negative_log_likelihoods(model.model, [rows[each] for each in names])
            return [Reply(to_json({"nats": nats, "tokens": tokens})) for nats, tokens in pairs]

        if found.missing():
            with weights.open(other) as model:
                lengths = {each: len(row.ids) for each, row in rows.items()}
                by_batches(found, lengths, make, size=self.batch_size, track=partial(self._track, name))
        told = {each: json.loads(reply.text) for each, reply in found.all().items()}
        return {each: (row["nats"], row["tokens"]) for each, row in told.items()}

    def remote(self, model: Remote, cases: Iterable[Case]) -> tuple[dict[str, Reply], dict[str, str]]:
        """What a model behind an API answers, by case, and why it left others unanswered."""
        by_id = {case.id: case for case in cases}
        asked = {name: [_messages(case), _tools(case)] for name, case in by_id.items()}
        found = self._known(digest([VERSION, essence(model.backend), self.max_new_tokens]), asked)
        failed: dict[str, str] = {}
        if todo := found.missing():
            with model.backend.open() as client:
                questions = {name: partial(self._once, client, by_id[name]) for name in todo}
                timeout = getattr(model.backend, "timeout", None)
                limits = {"concurrency": model.concurrency, "max_retries": model.max_retries, "timeout": timeout}
                errors = self._crowd(model.name, client, questions, found, **limits)
            equal = {found.keys[name]: error for name, error in errors.items()}
            failed = {name: f"{model.name}: {equal[key]}" for name, key in found.keys.items() if key in equal}
        return found.all(), failed

    async def _once(self, client: Client, case: Case) -> Reply:
        """One try. An answer without a word is none: it must not be counted as a wrong one."""
        offered: dict[str, Any] = {"tools": _tools(case)} if case.tools else {}
        reply = await client.ask(_messages(case), max_tokens=self.max_new_tokens, **offered)
        if not reply.text.strip():
            raise BackendError(f"an empty answer ({reply.finish})", "raise eval.max_new_tokens if it thinks first", transient=True)
        return reply

    def _known(self, mark: str, questions: Mapping[str, Any]) -> Predictions:
        found = Predictions(self.kept, mark, questions, fresh=self.run.fresh)
        missing = len(found.missing())
        self.made += missing
        self.known += len(set(found.keys.values())) - missing
        return found

    def _in_process(self, name: str, weights: Weights, other: Weights | None, prompts: Mapping[str, list[int]], found: Predictions) -> None:
        with weights.open(other) as loaded:
            generator = Generator(loaded.model, loaded.tokenizer)

            def make(names: list[str]) -> list[Reply]:
                settings = {"max_new_tokens": self.max_new_tokens, "batch_size": self.batch_size}
                return [_reply(each) for each in generator.batch([prompts[name] for name in names], **settings)]

            lengths = {each: len(prompt) for each, prompt in prompts.items()}
            by_batches(found, lengths, make, size=self.batch_size, track=partial(self._track, name))

    def _by_vllm(
        self, engine: VllmProcess, name: str, weights: Weights, prompts: Mapping[str, list[int]], found: Predictions, servers: Servers
    ) -> None:
        from src.eval.served import go_on, served

        client = served(engine, weights, self.run, servers)
        questions = {
            each: partial(go_on, client, weights, prompt, most=self.max_new_tokens, make=_reply) for each, prompt in prompts.items()
        }
        limits = {"concurrency": engine.concurrency, "max_retries": 4, "timeout": engine.timeout}
        if errors := self._crowd(name, client, questions, found, **limits):
            raise next(iter(errors.values()))

    def _crowd(
        self, name: str, client: Client, questions: Mapping[str, Callable[[], Any]], found: Predictions, **limits: Any
    ) -> dict[str, BackendError]:
        """Ask under a bar that moves with each answer, which is kept before the next one comes."""
        bar = iter(self.run.progress(range(len(questions)), total=len(questions), desc=f"eval {name}"))

        def keep(question: str, reply: Reply) -> None:
            found.keep([(question, reply)])
            next(bar, None)

        errors = ask_all(client, questions, keep=keep, **limits)
        for _ in bar:
            pass
        return errors

    def _track(self, name: str, batches: Iterable[list[str]]) -> Iterable[list[str]]:
        todo = list(batches)
        return self.run.progress(todo, total=len(todo), unit="batch", desc=f"eval {name}")


def _reply(said: Completion) -> Reply:
    return Reply(said.text, Usage(completion=len(said.ids)), said.finish_reason)


def _messages(case: Case) -> list[dict[str, Any]]:
    return [on_the_wire(message) for message in case.history]


def _tools(case: Case) -> list[dict[str, Any]]:
    return [{"type": "function", "function": function_of(tool)} for tool in case.tools]
