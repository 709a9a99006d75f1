"""How many tokens a call will take: guessed at first, then told from the calls before it."""

from src.llm.asking.questions import Question
from src.llm.client import Usage

_BYTES = 3.0  # of UTF-8 to a token: fewer than most texts have, so that first guesses are too high rather than too low
_MESSAGE = 8  # tokens that the frame of a message takes
_SAFE = 1.25  # for the most a prompt may take


class Meter:
    """Learns from each call how its text's length and its longest answer compare with its tokens."""

    def __init__(self) -> None:
        self._guessed = self._prompt = 0.0
        self._allowed = self._completion = 0.0

    def expected(self, question: Question) -> Usage:
        """What a call will likely take."""
        share = self._completion / self._allowed if self._allowed else 1.0
        return Usage(round(self._guess(question) * self._ratio), round(question.max_tokens * share))

    def most(self, question: Question) -> Usage:
        """What a call may take at most, the prompt as far as one can tell."""
        return Usage(round(self._guess(question) * self._ratio * _SAFE), question.max_tokens)

    def note(self, question: Question, usage: Usage) -> Usage:
        """Learn from a call; return its tokens, guessed where the server did not count them."""
        if not usage.prompt:
            return self.expected(question)
        self._guessed += self._guess(question)
        self._prompt += usage.prompt
        self._allowed += question.max_tokens
        self._completion += usage.completion
        return usage

    @property
    def _ratio(self) -> float:
        return self._prompt / self._guessed if self._guessed else 1.0

    def _guess(self, question: Question) -> float:
        return sum(len(message["content"].encode()) / _BYTES + _MESSAGE for message in question.messages)
