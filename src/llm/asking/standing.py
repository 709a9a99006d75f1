"""Where a row stands, told from the answers kept so far: decided, or what is to be asked next."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from src.llm.asking.answers import Answers
from src.llm.asking.questions import Question, Questions
from src.llm.asking.task import Answer
from src.llm.asking.verdict import Unusable
from src.llm.client import Reply

MISSING = "missing"
"""How a reply ends that stands for a text which a list of answers left out."""


@dataclass(frozen=True)
class Outcome:
    """What came of a row."""

    value: Any = None
    """The class or JSON value; None where there is none."""
    votes: Mapping[str, int] = field(default_factory=dict)
    reason: str = ""
    """Why there is none: `unsure`, `unparsable`, `no_answer`."""
    detail: str = ""


@dataclass(frozen=True)
class Ask:
    """A call that a row waits for; without a question it joins a batch."""

    text: str
    draw: int
    key: str
    question: Question | None = None


@dataclass(frozen=True)
class Silence:
    """A call that failed, and why."""

    why: str


@dataclass(frozen=True)
class Faulty:
    """An answer that could not be used, nor the one after it."""

    said: str


class Standing:
    """Tells where each text stands. It holds nothing but which calls failed in this run: all else is in the answers."""

    def __init__(self, questions: Questions, answers: Answers, *, model: str, batch: int, votes: int, repair: bool) -> None:
        self.questions = questions
        self.answers = answers
        self.model = model
        self.batch = batch
        self.votes = votes
        self.repair = repair
        self.failed: dict[str, str] = {}
        """Why a call, by its key, got no answer."""
        self.apart: set[str] = set()
        """Keys in a batch of rows that are to be asked alone: the server refused the batch."""

    def of(self, text: str) -> Outcome | Ask:
        """Where a text stands: each draw in turn, until what is left cannot change the majority."""
        counts: Counter[str] = Counter()
        values: dict[str, Any] = {}
        faulty = Faulty("")
        for draw in range(self.votes):
            said = self._draw(text, draw)
            if isinstance(said, Ask):
                return said
            if isinstance(said, Silence):
                return Outcome(reason="no_answer", detail=said.why)
            if isinstance(said, Faulty):
                faulty = said
                continue
            counts[said.vote] += 1
            values.setdefault(said.vote, said.value)
            if is_decided(counts, self.votes - draw - 1):
                break
        return self._counted(counts, values, faulty)

    def _counted(self, counts: Counter[str], values: Mapping[str, Any], faulty: Faulty) -> Outcome:
        if not counts:
            return Outcome(reason="unparsable", detail=faulty.said)
        votes = dict(sorted(counts.items(), key=lambda each: (-each[1], each[0])))
        first, *rest = votes
        if rest and votes[rest[0]] == votes[first]:
            shown = ", ".join(f"{vote[:80]} {count}" for vote, count in votes.items())
            return Outcome(votes=votes, reason="unsure", detail=f"{self.model} said {shown}")
        return Outcome(values[first], votes)

    def _draw(self, text: str, draw: int) -> Answer | Ask | Silence | Faulty:
        """One answer: from a batch, else alone, else anew."""
        if self.batch > 1:
            key = self.questions.key_in_batch(text, draw)
            reply = self.answers.get(key)
            if reply is None and key in self.failed:
                return Silence(self.failed[key])
            if reply is None and key not in self.apart:
                return Ask(text, draw, key)
            if reply and reply.finish != MISSING and isinstance(listed := self._read(reply), Answer):
                return listed
        found = self._asked(text, self.questions.alone(text, draw))
        if not isinstance(found, tuple):
            return found
        reply, fault = found
        if not self.repair:
            return Faulty(self._quoted(reply))
        found = self._asked(text, self.questions.again(text, draw, reply.text, fault))
        return Faulty(self._quoted(found[0])) if isinstance(found, tuple) else found

    def _asked(self, text: str, question: Question) -> Answer | Ask | Silence | tuple[Reply, str]:
        """What came of a question; a reply with its fault where that cannot be used."""
        if (reply := self.answers.get(question.key)) is None:
            why = self.failed.get(question.key)
            return Ask(text, question.draw, question.key, question) if why is None else Silence(why)
        found = self._read(reply)
        return found if isinstance(found, Answer) else (reply, found)

    def _read(self, reply: Reply) -> Answer | str:
        try:
            return self.questions.task.read(reply.text)
        except Unusable as fault:
            return f"it was cut at {self.questions.max_tokens} tokens" if reply.finish == "length" else str(fault)

    def _quoted(self, reply: Reply) -> str:
        cut = f", cut at max_tokens {self.questions.max_tokens}" if reply.finish == "length" else ""
        return f"{self.model} said {reply.text[:200]!r}{cut}"


def is_decided(counts: Counter[str], left: int) -> bool:
    """Whether `left` more votes cannot make another answer as frequent as the first."""
    (_, first), *rest = counts.most_common(2)
    return first > (rest[0][1] if rest else 0) + left
