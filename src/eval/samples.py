"""A few of the judged model's worst answers, with what was asked and expected: figures hide what went wrong."""

from collections.abc import Sequence

from src.core.files import to_json
from src.eval.cases import Case
from src.eval.measure import BASE, Evidence, Measure, Row
from src.eval.results import subject

EACH = 3  # of a figure
_LONGEST = 600  # characters shown of a text


def worst_answers(measures: Sequence[Measure], evidence: Evidence) -> list[dict[str, str]]:
    """For each figure the rows it counts against the judged model most: `metric`, `id`, `why`, `prompt`, `expected`, `got`, `base`."""
    by_case = {case.id: case for case in evidence.cases}
    last = {case.example: case for case in evidence.cases}
    shown: set[str] = set()
    found = []
    for measure in measures:
        worst = [row for row in _worst(measure) if row.id not in shown][:EACH]
        shown |= {row.id for row in worst}
        model = subject(measure.rows)
        found += [_sample(measure.name, model, row, by_case.get(row.id) or last[row.id], evidence) for row in worst]
    return found


def _worst(measure: Measure) -> list[Row]:
    """Rows that cost the figure something, the dearest first; of equals those that stand first."""
    rows = [row for row in measure.rows[subject(measure.rows)] if row.why]
    return sorted(rows, key=lambda row: row.value / row.weight, reverse=measure.lower_is_better)


def _sample(name: str, model: str, row: Row, case: Case, evidence: Evidence) -> dict[str, str]:
    said = evidence.answers.get(model, {}).get(case.id, "")
    expected = "\n".join(to_json(call) for call in case.calls) or str(case.expected.get("content") or "")
    texts = {"prompt": _asked(case), "expected": expected, "got": said, "why": row.why}
    if model != BASE and BASE in evidence.answers:
        texts["base"] = evidence.answers[BASE].get(case.id, "")
    return {"metric": name, "id": row.id, **{key: _cut(text) for key, text in texts.items()}}


def _asked(case: Case) -> str:
    """What the user said last, and what tools answered since."""
    since = [f"{message['role']}: {message.get('content') or ''}" for message in case.history if message["role"] == "tool"]
    return "\n".join([case.request, *since[-3:]]) if case.history and case.history[-1]["role"] == "tool" else case.request


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else text[:_LONGEST].rstrip() + " …"
