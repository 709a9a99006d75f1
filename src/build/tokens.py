"""Counting and checking the tokens of examples: exactly with a tokenizer, by an estimate without one."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from src.build.candidate import Candidate
from src.core.files import to_json
from src.core.ledger import Drop
from src.core.records import Example
from src.models.conversation import Fault
from src.text.tokens import estimate_tokens

SCRATCH = 2.0  # measured: a vocabulary of 1,536 makes 1.7 to 2.1 times the tokens of one of 128,000
_FRAME = 5  # tokens that a template puts around a message, about


@dataclass(frozen=True)
class Tokens:
    """A tokenizer, or the lack of one."""

    max_tokens: int
    tokenizer: Any = None
    factor: float = 1.0
    """How many tokens one of the estimate's stands for."""

    @classmethod
    def of(cls, name: str | None, max_tokens: int) -> "Tokens":
        """Load the tokenizer `name`; a `scratch` one is made later, and has some twice the tokens of a real one."""
        if name is None:
            return cls(max_tokens)
        if name == "scratch":
            return cls(max_tokens, factor=SCRATCH)
        from src.models.load import load_tokenizer
        from src.models.template import require_template

        tokenizer = load_tokenizer(name)
        require_template(tokenizer)
        return cls(max_tokens, tokenizer)

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
        for candidate in candidates:
            fault = self._count(candidate)
            example = candidate.example
            if not fault and candidate.rejected is not None:  # both answers are learned from, the longer one needs the memory
                other = Candidate(Example(**{**example, "messages": [*candidate.prompt, *candidate.rejected]}), candidate.key)  # type: ignore[typeddict-item]
                fault = self._count(other)
                candidate.tokens = max(candidate.tokens, other.tokens)
            yield Drop(example["id"], fault.reason, fault.detail, dict(example)) if fault else candidate

    def template(self, name: str | None) -> dict[str, str] | None:
        """What serving has to agree with: the hash of the template and tokenizer."""
        if self.tokenizer is None:
            return None
        from src.models.template import template_hash

        return {"tokenizer": str(name), "hash": template_hash(self.tokenizer)}

    def _count(self, candidate: Candidate) -> Fault | None:
        if self.tokenizer is not None:
            from src.models.template import examine

            limit = min(self.max_tokens, self.tokenizer.model_max_length)
            found = examine(self.tokenizer, candidate.example, max_tokens=limit)
            if isinstance(found, Fault):
                return found
            candidate.tokens, candidate.trained = len(found.ids), sum(found.mask)
            return None
        example = candidate.example
        shown = [to_json(tool) for tool in example["tools"]]
        learned = [_said(message) for message in example["messages"] if message["role"] == "assistant"]
        given = [_said(message) for message in example["messages"] if message["role"] != "assistant"]
        candidate.trained = sum(self.measure(learned)) + len(learned)
        candidate.tokens = candidate.trained + sum(self.measure([*shown, *given])) + _FRAME * len(example["messages"])
        if candidate.tokens > self.max_tokens:
            return Fault("too_long", f"about {candidate.tokens} tokens (estimated), over {self.max_tokens}")
        return None


def folder_of_scratch(texts: Sequence[str], folder: Path, max_tokens: int) -> Tokens:
    """Train a small tokenizer on `texts` and save it to `folder`."""
    from src.models.scratch import train_tokenizer

    tokenizer = train_tokenizer(texts)
    tokenizer.save_pretrained(folder)
    return Tokens(max_tokens, tokenizer)


def _said(message: dict[str, Any]) -> str:
    calls = [to_json(call["function"]) for call in message.get("tool_calls") or ()]
    return "\n".join([message.get("content") or "", *calls]).strip()
