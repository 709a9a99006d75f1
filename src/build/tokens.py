"""Counting and checking the tokens of examples: exactly with a tokenizer, by an estimate without one."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

from src.build.candidate import Candidate
from src.core.files import to_json
from src.core.ledger import Drop
from src.core.records import Example
from src.models.conversation import Fault
from src.models.windows import Policy, windows
from src.text.tokens import estimate_tokens

SCRATCH = 2.0  # measured: a vocabulary of 1,536 makes 1.7 to 2.1 times the tokens of one of 128,000
_FRAME = 5  # tokens that a template puts around a message, about
_CHUNK = 256


@dataclass(frozen=True, slots=True)
class Counted:
    """Tokens of an example."""

    tokens: int
    learned: int


@dataclass(frozen=True)
class Tokens:
    """A tokenizer, or the lack of one."""

    max_tokens: int
    tokenizer: Any = None
    factor: float = 1.0
    """How many tokens one of the estimate's stands for."""
    too_long: Policy = "drop"
    """What becomes of longer conversations."""
    long: Counter[str] = field(default_factory=Counter)
    """What became of them: `rows`, `parts`, `tokens_lost`, `learned_lost`."""

    @classmethod
    def of(cls, name: str | None, max_tokens: int, too_long: Policy = "drop") -> "Tokens":
        """Load the tokenizer `name`; a `scratch` one is made later, and has some twice the tokens of a real one."""
        if name is None:
            return cls(max_tokens, too_long=too_long)
        if name == "scratch":
            return cls(max_tokens, factor=SCRATCH, too_long=too_long)
        from src.models.load import load_tokenizer
        from src.models.template import require_template

        tokenizer = load_tokenizer(name)
        require_template(tokenizer)
        return cls(max_tokens, tokenizer, too_long=too_long)

    @property
    def exact(self) -> bool:
        """Whether counts are of real tokens."""
        return self.tokenizer is not None

    def measure(self, texts: Sequence[str]) -> list[int]:
        """Count the tokens of plain texts."""
        if self.tokenizer is None:
            return [round(self.factor * estimate_tokens(text)) for text in texts]
        return [len(ids) for ids in self.tokenizer(list(texts), add_special_tokens=False)["input_ids"]] if texts else []

    def checked(self, candidates: Iterable[Candidate]) -> Iterator[Candidate | Drop]:
        """Count each candidate's tokens and pass on those that can be learned as they will be served."""
        source = iter(candidates)
        while chunk := list(islice(source, _CHUNK)):
            for candidate, found in zip(chunk, self._counted([each.example for each in chunk]), strict=True):
                yield from self._fitted(candidate, found)

    def _fitted(self, candidate: Candidate, found: Counted | Fault) -> Iterator[Candidate | Drop]:
        example = candidate.example
        if isinstance(found, Counted) and candidate.rejected is not None:  # both answers are learned from, the longer one needs the memory
            other = self._count({**example, "messages": [*candidate.prompt, *candidate.rejected]})
            found = other if isinstance(other, Fault) or other.tokens > found.tokens else found
        if isinstance(found, Counted) and (over := self._too_long(found)):
            if candidate.rejected is None and self.too_long != "drop":
                yield from self._parts(candidate, found)
                return
            self.long.update(rows=1, tokens_lost=found.tokens, learned_lost=found.learned)
            found = over
        if isinstance(found, Fault):
            yield Drop(example["id"], found.reason, found.detail, dict(example))
            return
        candidate.tokens, candidate.trained = found.tokens, found.learned
        yield candidate

    def _parts(self, candidate: Candidate, whole: Counted) -> Iterator[Candidate | Drop]:
        """Make a conversation that is too long shorter, or several of it."""
        example = candidate.example
        self.long.update(rows=1, tokens_lost=whole.tokens, learned_lost=whole.learned)
        found = windows(example["messages"], limit=self.limit, policy=self.too_long, measure=lambda some: self._length(example, some))
        for window in found:
            alone = self.too_long == "truncate" or (len(found) == 1 and window.fault is not None)
            name = example["id"] if alone else f"{example['id']}#part{window.number}"
            part = Example(**{**example, "id": name, "messages": [dict(message) for message in window.messages]})  # type: ignore[typeddict-item]
            counted = window.fault or self._count(part)
            if isinstance(counted, Fault):
                yield Drop(name, counted.reason, counted.detail, dict(part))
                continue
            self.long.update(parts=1, tokens_lost=-counted.tokens, learned_lost=-counted.learned)
            yield replace(candidate, example=part, tokens=counted.tokens, trained=counted.learned)

    def report(self) -> str:
        """What became of conversations that were too long, in words."""
        lost, learned = (f"{max(0, self.long[name]):,}" for name in ("tokens_lost", "learned_lost"))
        done = {"drop": "dropped", "split": f"made into {self.long['parts']:,} parts", "truncate": "left without their earlier turns"}
        rows = f"{self.long['rows']:,} rows over {self.limit:,} tokens were {done[self.too_long]}"
        return f"{rows}: {lost} tokens lost, {learned} of them learned"

    def template(self, name: str | None) -> dict[str, str] | None:
        """What serving has to agree with: the hash of the template and tokenizer."""
        if self.tokenizer is None:
            return None
        from src.models.template import template_hash

        return {"tokenizer": str(name), "hash": template_hash(self.tokenizer)}

    @property
    def limit(self) -> int:
        """Most tokens of an example."""
        return self.max_tokens if self.tokenizer is None else min(self.max_tokens, self.tokenizer.model_max_length)

    @cached_property
    def _encoder(self) -> Any:
        from src.models.encoder import Encoder

        return Encoder(self.tokenizer)

    def _too_long(self, counted: Counted) -> Fault | None:
        if counted.tokens <= self.limit:
            return None
        return Fault(
            "too_long",
            f"{counted.tokens} tokens, over {self.limit}"
            if self.exact
            else f"about {counted.tokens} tokens (estimated), over {self.limit}",
        )

    def _length(self, example: Mapping[str, Any], messages: Sequence[Any]) -> int | Fault:
        found = self._count({**example, "messages": messages})
        return found if isinstance(found, Fault) else found.tokens

    def _count(self, example: Mapping[str, Any]) -> Counted | Fault:
        return next(self._counted([example]))

    def _counted(self, examples: Sequence[Mapping[str, Any]]) -> Iterator[Counted | Fault]:
        if self.tokenizer is None:
            yield from map(self._estimated, examples)
            return
        from src.models.lessons import lessons
        from src.models.template import Encoded, examine_all

        for example, found in zip(examples, examine_all(self._encoder, examples), strict=True):
            if isinstance(found, Fault):
                yield found
                continue
            apart = lessons(self._encoder, example["messages"], example["tools"], found)
            yield Counted(len(found.ids), sum(found.mask) + sum(sum(each.mask) for _, each in apart if isinstance(each, Encoded)))

    def _estimated(self, example: Mapping[str, Any]) -> Counted:
        shown = [to_json(tool) for tool in example["tools"]]
        learned = [_said(message) for message in example["messages"] if message["role"] == "assistant"]
        given = [_said(message) for message in example["messages"] if message["role"] != "assistant"]
        count = sum(self.measure(learned)) + len(learned)
        return Counted(count + sum(self.measure([*shown, *given])) + _FRAME * len(example["messages"]), count)


def folder_of_scratch(texts: Sequence[str], folder: Path, max_tokens: int, too_long: Policy = "drop") -> Tokens:
    """Train a small tokenizer on `texts` and save it to `folder`."""
    from src.models.scratch import train_tokenizer

    tokenizer = train_tokenizer(texts)
    tokenizer.save_pretrained(folder)
    return Tokens(max_tokens, tokenizer, too_long=too_long)


def _said(message: dict[str, Any]) -> str:
    calls = [to_json(call["function"]) for call in message.get("tool_calls") or ()]
    return "\n".join([message.get("content") or "", *calls]).strip()
