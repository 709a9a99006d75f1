"""Answers in words, for the metrics that read them: which turns ask for one, and a figure over them."""

from collections.abc import Callable, Sequence

from src.eval.cases import Case
from src.eval.measure import Evidence, Measure, Row
from src.models.tool_calls import parse

Judged = tuple[float, float, str]
"""Value, weight, and what was wrong."""


def in_words(evidence: Evidence, tags: Sequence[str] = ()) -> list[Case]:
    """Turns whose reference is words; with `tags` only rows that have one of them."""
    wanted = set(tags)
    return [
        case
        for case in evidence.cases
        if not case.calls and str(case.expected.get("content") or "").strip() and (not wanted or wanted & set(case.tags))
    ]


def reference(case: Case) -> str:
    """The words that the held-out row has."""
    return str(case.expected.get("content") or "")


def words_of(text: str) -> str:
    """What a model said besides its calls."""
    return parse(text).content or ""


def measured(name: str, asked: Sequence[Case], evidence: Evidence, judge: Callable[[Case, str], Judged], *, lower: bool = False) -> Measure:
    """A figure whose rows are each judged from the case and the words said."""
    rows = {
        model: [Row(case.id, case.group, case.tags, *judge(case, words_of(texts[case.id]))) for case in asked]
        for model, texts in evidence.answers.items()
    }
    return Measure(name, rows, lower_is_better=lower)
