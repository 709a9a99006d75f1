"""Whether the model calls the right tool with the right arguments, and leaves tools alone where none applies."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal

from src.core.config import Config, InputPath
from src.core.errors import MlxError
from src.eval.accepted import Accepted, accepted_of, mismatch
from src.eval.calls import difference, fault, rights, same_calls, same_names
from src.eval.cases import Case
from src.eval.measure import Evidence, Finding, Measure, Row
from src.models.tool_calls import Parsed, parse

_Check = Callable[[Case, Parsed], str]


class ToolCalls(Config):
    """Calls that are valid JSON, fit the tool's schema, name the right tool, have the right arguments; and no call out of place.

    `accuracy` asks for exactly the arguments expected. `ast` is the rule of the Berkeley Function Calling Leaderboard (Patil
    et al. 2025; `ast_checker` of bfcl-eval): any of the accepted values, strings without regard to case and punctuation, no
    order among parallel calls. `relevance` is what it calls irrelevance: no call where none is expected.
    """

    type: Literal["tool_calls"] = "tool_calls"
    accepted: InputPath | None = None
    """JSON lines of the leaderboard's form (`id` of the example, `ground_truth`) with all calls that count as right for `ast`."""

    names: ClassVar[tuple[str, ...]] = (
        "tool_calls.valid",
        "tool_calls.schema",
        "tool_calls.name",
        "tool_calls.accuracy",
        "tool_calls.ast",
        "tool_calls.arguments",
        "tool_calls.invented",
        "tool_calls.relevance",
    )
    reads: ClassVar[str] = "answers"

    def files(self) -> Iterable[Path]:
        """What is read besides the rows."""
        return [self.accepted] if self.accepted else []

    def score(self, evidence: Evidence) -> Finding:
        """Shares of turns that call a tool; of expected arguments; of turns with tools at hand; and of those that should call none."""
        calling = [case for case in evidence.cases if case.calls]
        plain = [case for case in evidence.cases if case.tools and case.opens and not case.calls]
        published = {**evidence.accepted, **self._published()}

        def ast(case: Case, parsed: Parsed) -> str:
            wanted = published.get(case.example) or [accepted_of(call) for call in case.calls]
            return _valid(case, parsed) or mismatch(wanted, parsed.calls, case.tools)

        finding = Finding()
        for name, check in zip(self.names, (_valid, _schema, _name, _exact, ast), strict=False):
            _add(finding, name, calling, evidence, partial(_checked, check))
        _add(finding, "tool_calls.arguments", calling, evidence, _arguments)
        _add(finding, "tool_calls.invented", [*calling, *plain], evidence, _invented, lower_is_better=True)
        _add(finding, "tool_calls.relevance", plain, evidence, partial(_checked, _relevant))
        return finding

    def _published(self) -> Mapping[str, Sequence[Accepted]]:
        """Accepted calls by example."""
        if self.accepted is None:
            return {}
        from src.text.jsonl import Fault, read_lines

        found: dict[str, Sequence[Accepted]] = {}
        for line in read_lines(self.accepted):
            row = {} if isinstance(line, Fault) else line[1]
            calls = row.get("ground_truth")
            if not isinstance(calls, list) or not all(isinstance(call, dict) and len(call) == 1 for call in calls):
                place = line.line if isinstance(line, Fault) else line[0]
                raise MlxError(f"{self.accepted}:{place}: holds no accepted calls", 'a line is {"id": …, "ground_truth": [{name: {…}}]}')
            found[str(row.get("id"))] = calls
        return found


def _add(
    finding: Finding,
    name: str,
    asked: Sequence[Case],
    evidence: Evidence,
    row: Callable[[Case, Parsed], Row],
    *,
    lower_is_better: bool = False,
) -> None:
    if not asked:
        without = "offers tools and expects none to be called" if name.endswith("relevance") else "calls a tool"
        finding.missing[name] = f"no held-out turn {without}"
        return
    rows = {model: [row(case, parse(texts[case.id])) for case in asked] for model, texts in evidence.answers.items()}
    finding.measures.append(Measure(name, rows, lower_is_better=lower_is_better))


def _checked(check: _Check, case: Case, parsed: Parsed) -> Row:
    wrong = check(case, parsed)
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


def _arguments(case: Case, parsed: Parsed) -> Row:
    """Right arguments out of all that are expected or given; a call without any counts as one."""
    right, count = rights(case.calls, parsed.calls, case.tools)
    return Row(case.id, case.group, case.tags, right, count, "" if right == count else f"{right} of {count} arguments")


def _invented(case: Case, parsed: Parsed) -> Row:
    offered = {(tool.get("function") or tool).get("name") for tool in case.tools}
    strange = next((call["name"] for call in parsed.calls if call["name"] not in offered), "")
    return Row(case.id, case.group, case.tags, float(bool(strange)), 1.0, f"calls {strange}, which is not offered" if strange else "")


def _relevant(case: Case, parsed: Parsed) -> str:
    if parsed.calls:
        return f"calls {parsed.calls[0]['name']} where no tool applies"
    return f"begins a call where no tool applies: {parsed.errors[0]}" if parsed.errors else ""
