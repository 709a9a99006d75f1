"""Rows that the model is unsure of go out to people as CSV, and come back with their labels."""

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from src.core.errors import MlxError
from src.core.ledger import Drop
from src.label.gold import rows_of
from src.llm.asking.task import Answer, Task
from src.llm.asking.verdict import Unusable
from src.text.spreadsheet import as_it_was, harmless

UNSURE = "unsure.csv"
COLUMNS = ("id", "text", "label", "reason", "answers")
_SHOWN = 3


def write_unsure(stream: IO[str], drops: Iterable[tuple[Drop, str]]) -> int:
    """Write rows with an empty column `label` for people to fill in; return how many."""
    stream.write("\ufeff")  # by which spreadsheets know that it is UTF-8
    writer = csv.writer(stream, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    count = 0
    for drop, text in drops:
        writer.writerow([harmless(cell) for cell in (drop.id, text, "", drop.reason, drop.detail)])
        count += 1
    return count


def read_corrections(path: Path, task: Task) -> dict[str, Answer]:
    """Labels that people filled in, by the row's id; rows with an empty label are not decided yet.

    Raises:
        MlxError: Where rows or columns are missing, a label is none, or an id has two.
    """
    found: dict[str, Answer] = {}
    faults: list[str] = []
    number = 0
    for number, row in enumerate(rows_of(path, wanted=COLUMNS), start=1):
        if "id" not in row or "label" not in row:
            raise MlxError(f"{path}: has no columns `id` and `label`", f"fill in the column `label` of {UNSURE}, and leave the others")
        name, label = as_it_was(str(row["id"] or "")), as_it_was(str(row["label"] or "")).strip()
        if label:
            faults += _taken(found, name, label, task, f"{path}: row {number}")
    if not number:
        raise MlxError(f"{path}: holds no row", f"fill in the column `label` of {UNSURE}, or take label.corrections out")
    if faults:
        more = f"; and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        raise MlxError("; ".join(faults[:_SHOWN]) + more, f"mend {path}")
    return found


def _taken(found: dict[str, Answer], name: str, label: str, task: Task, where: str) -> Iterator[str]:
    try:
        answer = task.read(label)
    except Unusable:
        yield f"{where}: {label[:80]!r} is no answer to the task"
        return
    if name in found and found[name].vote != answer.vote:
        yield f"{where}: {name} has two labels, {found[name].vote!r} and {answer.vote!r}"
    found[name] = answer
