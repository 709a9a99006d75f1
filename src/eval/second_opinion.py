"""Ask a language model about answers, as patiently as the label stage asks; what it once said is kept and never paid for again."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from src.core.config import essence
from src.core.errors import MlxError
from src.llm.asking.standing import Ask, Outcome, Standing
from src.llm.asking.task import Task
from src.llm.backend import Backend
from src.llm.client import BackendError, Client
from src.llm.moderation import ModerationBackend

CACHE = "opinions.sqlite"
CUT = 6000
"""Characters of a text that are shown; the judge is told where one is cut."""
_ALL = 1 << 20  # what is asked is put together from texts that are cut already


class NoJudgeError(MlxError):
    """There is nobody to ask: the key is missing."""


def opinions(
    texts: Sequence[str],
    task: Task,
    *,
    backend: Backend | ModerationBackend,
    cache: Path,
    concurrency: int = 8,
    votes: int = 1,
    temperature: float | None = 0,
    max_tokens: int = 512,
) -> tuple[Mapping[str, Outcome], dict[str, Any]]:
    """Ask about each text until there is an answer of the task's form, or none to be had.

    Calls that fail for the moment (429, 500, no answer in time, a body that is none) are made again, ever later; an answer of
    another form is shown to the model with its fault, once. Each answer is on disk before the next step, so that a run that was
    killed pays only for the rest.

    Returns:
        What came of each text, `reason` filled in where nothing did; and figures: calls made, answers had already, tokens.

    Raises:
        NoJudgeError: Where the key is missing.
        BackendError: Where nobody listens, the key is refused, or five calls fail in a row.
    """
    from src.llm.asking.answers import Answers
    from src.llm.asking.calls import Calls
    from src.llm.asking.questions import Questions

    questions = Questions(asked=essence(backend), task=task, max_chars=_ALL, max_tokens=max_tokens, temperature=temperature)
    with Answers(cache / CACHE) as answers:
        standing = Standing(questions, answers, model=backend.name, batch=1, votes=votes, repair=True)
        retries = getattr(backend, "max_retries", 0)
        calls = Calls(lambda: _opened(backend), standing, concurrency=concurrency, max_retries=retries)
        calls.put(texts)
        found = {text: standing.of(text) for text in texts}
    return {text: each for text, each in found.items() if not isinstance(each, Ask)}, calls.figures()


def _opened(backend: Backend | ModerationBackend) -> Client:
    try:
        return backend.open()
    except BackendError:
        raise
    except MlxError as error:
        raise NoJudgeError(str(error), error.hint) from None


def shown(text: str) -> str:
    """A text as the judge sees it."""
    return text if len(text) <= CUT else f"{text[:CUT]} … (cut)"
