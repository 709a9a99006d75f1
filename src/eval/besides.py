"""Puts suites of prompts beside the held-out rows, and scores each by itself: its figures are no part of the project's own."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from src.core.records import Example
from src.core.run import Run
from src.eval.accepted import Accepted
from src.eval.cases import SUITE
from src.eval.measure import Evidence, Finding
from src.eval.safety import Safety
from src.eval.suites import Suite
from src.eval.tool_calls import ToolCalls

_DEFAULT: Mapping[str, Any] = {"safety": Safety(), "tool_calls": ToolCalls()}
"""What scores a suite whose metric the config does not set up."""


@dataclass
class Besides:
    """The rows of all suites."""

    examples: list[Example] = field(default_factory=list)
    accepted: dict[str, Sequence[Accepted]] = field(default_factory=dict)
    """The calls that count as right, by example."""


def besides(run: Run, suites: Iterable[Suite], system: str) -> Besides:
    """Read the suites; what is no prompt goes into the ledger. Each begins with the words that are put first when the model is served."""
    found = Besides()
    first = [{"role": "system", "content": system}] if system else []
    for suite in suites:
        for row in islice(suite.rows(), suite.limit):
            if isinstance(row, tuple):
                example, accepted = row
                found.examples.append({**example, "messages": [*first, *example["messages"]]})
                found.accepted[example["id"]] = accepted
            else:
                run.ledger.drop(row)
    return found


def scored(suites: Iterable[Suite], metrics: Iterable[Any], evidence: Evidence) -> list[Finding]:
    """The findings of each suite, by the metric of its kind: `xstest/safety.refusal`."""
    chosen = {**_DEFAULT, **{metric.type: metric for metric in metrics}}
    return [_named(suite, chosen[suite.metric].score(_within(suite, evidence))) for suite in suites]


def _within(suite: Suite, evidence: Evidence) -> Evidence:
    return replace(evidence, cases=[case for case in evidence.cases if SUITE + suite.name in case.tags], records=())


def _named(suite: Suite, found: Finding) -> Finding:
    """Under the suite's name; a figure that its prompts are not made for is not even missing."""
    measures = [replace(each, name=f"{suite.name}/{each.name}") for each in found.measures if each.name in suite.figures]
    detail = {f"{suite.name}/{key}": value for key, value in found.detail.items()}
    missing = {} if measures else {f"{suite.name}/{key}": value for key, value in found.missing.items() if key in suite.figures}
    return Finding(measures, missing=missing, detail=detail, drops=found.drops)


def only_elsewhere(found: Finding, suites: Iterable[Finding]) -> Finding:
    """Leave out what is missing of the project's own rows where a suite has it."""
    there = {each.name.partition("/")[2] for finding in suites for each in finding.measures}
    return replace(found, missing={name: why for name, why in found.missing.items() if name not in there})
