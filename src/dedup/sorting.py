"""The last kind of task: part the rows of a part into those that stay and those that go, with the reason."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import orjson
from numpy.typing import NDArray

from src.core.files import to_json
from src.core.ledger import Drop
from src.dedup.corpus import Corpus
from src.dedup.documents import I64, drop_of, line_of, parse, read, record_of, strict
from src.dedup.fates import EXACT, FATES, NEAR, REASONS, SEMANTIC
from src.dedup.parts import Part
from src.dedup.shelf import Shelf
from src.dedup.spill import opened
from src.text.buckets import SLACK
from src.text.kernels import SLACK as BEHIND

if TYPE_CHECKING:  # JSON Lines alone need no Arrow, which is slow to load
    import pyarrow as pa

Form = Literal["parquet", "jsonl"]
_SHELVED = "sorted"


@dataclass(frozen=True)
class Sorted:
    """A part's rows; those that stay as a table or as lines."""

    table: "pa.Table | None"
    text: bytes
    kept: int
    drops: list[Drop]


@dataclass(frozen=True, slots=True)
class Task:
    """What the tasks have in common."""

    shelf: Shelf
    corpus: Corpus
    column: str
    threshold: float
    form: Form


def sort_part(task: Task, part: Part, place: int) -> Sorted:
    """Sort the rows of the part that is `place` in the corpus."""
    fates = _fates(task, place)
    if part.kind == "jsonl":
        return _sorted_lines(task, part, place, fates)
    from src.dedup.rows import json_lines, sort_rows

    rows = task.corpus.parts[place].spill().read("rows").tolist()
    kept, drops = sort_rows(part, {rows[number]: fate for number, fate in fates.items()})
    if task.form == "jsonl":
        return Sorted(None, b"".join(json_lines(kept)), kept.num_rows, drops)
    return Sorted(kept, b"", kept.num_rows, drops)


def _fates(task: Task, place: int) -> dict[int, tuple[str, str]]:
    """Reason and detail for each document of the part that goes, by its place in it."""
    spill = opened(task.shelf.path(FATES))
    numbers = spill.mapped("number")
    base = int(task.corpus.bases[place])
    start, end = np.searchsorted(numbers, [base, task.corpus.bases[place + 1]])
    columns = {name: spill.mapped(name)[start:end] for name in spill.head["sections"]}
    survivors = task.corpus.names(columns["survivor"])
    chained = np.flatnonzero((columns["reason"] == NEAR) & (columns["alike"] < task.threshold - SLACK))
    through = dict(zip(chained.tolist(), task.corpus.names(columns["through"][chained]), strict=True))
    found = {}
    for at, number in enumerate(columns["number"].tolist()):
        reason, alike = int(columns["reason"][at]), float(columns["alike"][at])
        likeness = "Jaccard 1" if reason == EXACT else f"{'cosine' if reason == SEMANTIC else 'Jaccard'} {alike:.3f}"
        if at in through:  # a chain: the partner at the threshold is another one
            likeness += f" through {through[at]} with {columns['through_alike'][at]:.3f}"
        detail = f"of {survivors[at]}: {likeness}, cluster {int(columns['cluster'][at]):016x}"
        found[number - base] = REASONS[reason], detail[:-4]
    return found


def _sorted_lines(task: Task, part: Part, place: int, fates: dict[int, tuple[str, str]]) -> Sorted:
    spill, first = task.corpus.parts[place].spill(), task.corpus.parts[place].first_line
    data, lines, rows = read(part), spill.read("lines"), spill.read("rows")
    drops = {}
    for number, fate in fates.items():
        name = f"{part.path}:{first + rows[number]}"
        drops[rows[number]] = Drop(name, *fate, record_of(strict(line_of(data, *lines[number])), name, task.column).as_row())
    for row, line in _between(data, lines, rows):
        if isinstance(why := parse(line, task.column), tuple) and why[0]:
            drops[row] = drop_of(line, f"{part.path}:{first + row}", why)
    stays = np.ones(len(rows), bool)
    stays[list(fates)] = False
    ordered = [drops[row] for row in sorted(drops)]
    if task.form == "jsonl":
        return Sorted(None, _copied(data, lines[stays]), int(stays.sum()), ordered)
    from src.core.tables import record_table

    kept = [
        record_of(strict(line_of(data, *line)), f"{part.path}:{first + row}", task.column)
        for line, row in zip(lines[stays].tolist(), rows[stays].tolist(), strict=True)
    ]
    return Sorted(record_table(kept), b"", len(kept), ordered)


def _between(data: NDArray[np.uint8], lines: I64, rows: I64) -> list[tuple[int, bytes]]:
    """The lines that are no documents, and their numbers in the part."""
    begins, ends = np.append(lines[:, 0], len(data) - BEHIND), np.insert(lines[:, 1], 0, 0)
    found = []
    for gap in np.flatnonzero(begins > ends).tolist():
        row = int(rows[gap - 1]) + 1 if gap else 0
        found += list(enumerate(line_of(data, ends[gap], begins[gap]).split(b"\n"), row))
    return found


def _copied(data: NDArray[np.uint8], lines: I64) -> bytes:
    """Some lines, runs of them together."""
    if not len(lines):
        return b""
    breaks = np.flatnonzero(lines[1:, 0] != lines[:-1, 1])
    begins, ends = lines[np.insert(breaks + 1, 0, 0), 0], lines[np.append(breaks, len(lines) - 1), 1]
    view = data.data
    text = b"".join([view[begin:end] for begin, end in zip(begins.tolist(), ends.tolist(), strict=True)])
    return text if text.endswith(b"\n") else text + b"\n"


def shelve_sorted(task: Task, part: Part, place: int) -> str:
    """Sort a part into a file, for an engine whose workers are elsewhere."""
    import pyarrow as pa
    from pyarrow import ipc

    name = f"{place}.{_SHELVED}"
    if not task.shelf.has(name):
        found = sort_part(task, part, place)
        table = found.table if found.table is not None else pa.table({"text": pa.array([found.text], pa.large_binary())})
        head = {"kept": str(found.kept), "drops": to_json([asdict(drop) for drop in found.drops])}

        def write(stream: Any) -> None:
            with ipc.new_file(stream, table.schema.with_metadata(head)) as writer:
                writer.write_table(table)

        task.shelf.save(name, write)
    return name


def unshelve_sorted(task: Task, name: str) -> Sorted:
    """Read what `shelve_sorted` wrote."""
    import pyarrow as pa
    from pyarrow import ipc

    with ipc.open_file(pa.memory_map(str(task.shelf.path(name)))) as stream:
        table = stream.read_all()
    head = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
    drops = [Drop(**row) for row in orjson.loads(head["drops"])]
    table = table.replace_schema_metadata(None)
    if task.form == "jsonl":
        return Sorted(None, table.column("text")[0].as_py(), int(head["kept"]), drops)
    return Sorted(table, b"", int(head["kept"]), drops)
