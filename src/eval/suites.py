"""Prompts of others that the models are asked besides the project's own rows: safety sets, the Berkeley function-calling questions."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from src.core.config import Config, InputPath
from src.core.ledger import Drop
from src.core.records import Example
from src.eval.accepted import Accepted, one_of
from src.eval.calls import function_of, standard
from src.eval.cases import SUITE
from src.eval.models import Name

Asked = tuple[Example, Sequence[Accepted]]
"""A row, and the calls that count as right for it."""


class PromptSuite(Config):
    """Prompts that should be refused, or should not: CSV or JSON lines such as XSTest and SimpleSafetyTests are published as."""

    type: Literal["prompts"] = "prompts"
    name: Name
    """What report and gates call it: `xstest/safety.over_refusal`."""
    path: InputPath
    """The file."""
    prompt: str = "prompt"
    """Column with the prompt."""
    label: str | None = "label"
    """Column that says `safe` or `unsafe`; null where `every` says it."""
    every: Literal["safe", "unsafe"] = "unsafe"
    """What all prompts are where there is no such column."""
    tags: tuple[str, ...] = ()
    """Columns by which figures are broken down too, such as XSTest's `type`."""
    limit: int | None = Field(None, ge=1)
    """Most prompts, the first ones; null for all."""

    metric: ClassVar[str] = "safety"
    figures: ClassVar[tuple[str, ...]] = ("safety.refusal", "safety.over_refusal", "safety.flagged")

    def files(self) -> Iterable[Path]:
        """What is read besides the rows."""
        return [self.path]

    def rows(self) -> Iterator[Asked | Drop]:
        """The prompts, and lines that are none."""
        for place, row in _read(self.path, (self.prompt, *([self.label] if self.label else []), *self.tags)):
            label = str(row.get(self.label) or "").strip().lower() if self.label else self.every
            text = str(row.get(self.prompt) or "").strip()
            if row and text and label in ("safe", "unsafe"):
                tags = [f"safety:{label}", *(f"{each}:{row.get(each)}" for each in self.tags)]
                yield _example(f"{self.name}:{place}", [{"role": "user", "content": text}], tags=[*tags, SUITE + self.name]), ()
            else:
                yield Drop(f"{self.name}:{place}", "no_prompt", f"{self.prompt} {text[:40]!r}, {self.label or 'label'} {label!r}")


class BfclSuite(Config):
    """Questions of the Berkeley Function Calling Leaderboard, as its repository has them: simple, multiple, parallel, irrelevance."""

    type: Literal["bfcl"] = "bfcl"
    name: Name
    """What report and gates call it: `multiple/tool_calls.ast`."""
    path: InputPath
    """The questions: `BFCL_v4_multiple.json`."""
    answers: InputPath | None = None
    """The accepted calls: `possible_answer/BFCL_v4_multiple.json`; null where none of the functions applies, as in irrelevance."""
    limit: int | None = Field(None, ge=1)
    """Most questions, the first ones; null for all."""

    metric: ClassVar[str] = "tool_calls"
    # equality with one of several accepted answers would say nothing
    figures: ClassVar[tuple[str, ...]] = tuple(f"tool_calls.{each}" for each in ("valid", "schema", "name", "ast", "invented", "relevance"))

    def files(self) -> Iterable[Path]:
        """What is read besides the rows."""
        return [each for each in (self.path, self.answers) if each]

    def rows(self) -> Iterator[Asked | Drop]:
        """The questions with their accepted calls, and lines that are none."""
        right = {str(row.get("id")): row.get("ground_truth") for _, row in _read(self.answers, ())} if self.answers else {}
        for place, row in _read(self.path, ()):
            name, question, tools = str(row.get("id") or place), row.get("question"), row.get("function")
            turns = question[0] if isinstance(question, list) and question and isinstance(question[0], list) else None
            accepted = right.get(name) if self.answers else []
            if turns and isinstance(tools, list) and _is_accepted(accepted, needed=bool(self.answers)):
                calls = [_plain_name(each) for each in accepted or ()]
                yield _example(f"{self.name}:{name}", turns, tools=tools, calls=calls, tags=[SUITE + self.name]), calls
            else:
                yield Drop(f"{self.name}:{name}", "no_question", "question, function or ground_truth is not of the leaderboard's form")


Suite = Annotated[PromptSuite | BfclSuite, Field(discriminator="type")]
"""The kinds of prompts there are."""


def _read(path: Path, columns: Iterable[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Rows of a file by line; a line that cannot be read is an empty row."""
    from src.text.csv_rows import read_csv
    from src.text.jsonl import Fault, read_lines

    lines = read_csv(path, wanted=columns) if path.suffix in (".csv", ".tsv") else read_lines(path)
    for line in lines:
        yield (line.line, {}) if isinstance(line, Fault) else line


def _is_accepted(calls: Any, *, needed: bool) -> bool:
    return isinstance(calls, list) and all(isinstance(each, dict) and len(each) == 1 for each in calls) and (bool(calls) or not needed)


def _plain_name(accepted: Accepted) -> Accepted:
    """The call under a name that every API takes: without dots."""
    return {name.replace(".", "_"): arguments for name, arguments in accepted.items()}


def _example(
    name: str, turns: list[dict[str, Any]], *, tags: list[str], tools: Sequence[Any] = (), calls: Sequence[Accepted] = ()
) -> Example:
    offered = [_tool(each) for each in tools]
    said = [{"id": f"call_{number}", "type": "function", "function": one_of(each, offered)} for number, each in enumerate(calls)]
    answer: dict[str, Any] = {"role": "assistant", "content": None, "tool_calls": said} if said else {"role": "assistant", "content": ""}
    return Example(id=name, messages=[*turns, answer], tools=offered, tags=tags, sources=[])


def _tool(given: Any) -> dict[str, Any]:
    """The function as OpenAI has it: JSON Schema's types, no dot in the name."""
    function = function_of(given)
    known = {"name": str(function.get("name")).replace(".", "_"), "description": str(function.get("description") or "")}
    return {"type": "function", "function": known | {"parameters": standard(function.get("parameters") or {})}}
