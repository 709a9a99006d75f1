"""Whether the model calls the right tool with the right arguments, and leaves tools alone where none applies."""

from collections.abc import Callable
from typing import ClassVar, Literal

from src.core.config import Config
from src.eval.calls import difference, fault, same_calls, same_names
from src.eval.cases import Case
from src.eval.measure import Evidence, Finding, Measure, Row
from src.models.tool_calls import Parsed, parse

_Check = Callable[[Case, Parsed], str]


class ToolCalls(Config):
    """Calls that are valid JSON, fit the tool's schema, name the right tool, have exactly the right arguments; and no call out of place."""

    type: Literal["tool_calls"] = "tool_calls"

    names: ClassVar[tuple[str, ...]] = (
        "tool_calls.valid",
        "tool_calls.schema",
        "tool_calls.name",
        "tool_calls.accuracy",
        "tool_calls.relevance",
    )
    reads: ClassVar[str] = "answers"

    def score(self, evidence: Evidence) -> Finding:
        """Shares of turns: of those that call a tool, and for relevance of those that could and should not."""
        calling = [case for case in evidence.cases if case.calls]
        plain = [case for case in evidence.cases if case.tools and case.opens and not case.calls]
        finding = Finding()
        for name, check in zip(self.names, (_valid, _schema, _name, _exact, _relevant), strict=True):
            asked = plain if check is _relevant else calling
            if asked:
                finding.measures.append(_measure(name, check, asked, evidence))
            else:
                without = "offers tools and expects none to be called" if check is _relevant else "calls a tool"
                finding.missing[name] = f"no held-out turn {without}"
        return finding


def _measure(name: str, check: _Check, asked: list[Case], evidence: Evidence) -> Measure:
    rows = {model: [_row(case, check(case, parse(texts[case.id]))) for case in asked] for model, texts in evidence.answers.items()}
    return Measure(name, rows)


def _row(case: Case, wrong: str) -> Row:
    return Row(case.id, case.group, case.tags, float(not wrong), 1.0, wrong)


def _valid(case: Case, parsed: Parsed) -> str:
    return parsed.errors[0] if parsed.errors else "" if parsed.calls else "no call"


def _schema(case: Case, parsed: Parsed) -> str:
    return _valid(case, parsed) or next((wrong for call in parsed.calls if (wrong := fault(call, case.tools))), "")


def _name(case: Case, parsed: Parsed) -> str:
    return "" if same_names(case.calls, parsed.calls) else difference(case.calls, parsed.calls, case.tools)


def _exact(case: Case, parsed: Parsed) -> str:
    wrong = _valid(case, parsed)
    return wrong or ("" if same_calls(case.calls, parsed.calls, case.tools) else difference(case.calls, parsed.calls, case.tools))


def _relevant(case: Case, parsed: Parsed) -> str:
    if parsed.calls:
        return f"calls {parsed.calls[0]['name']} where no tool applies"
    return f"begins a call where no tool applies: {parsed.errors[0]}" if parsed.errors else ""
