"""The last kind of task: part the rows of a part into those that stay and those that go, with the reason."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import orjson
import pyarrow as pa
from pyarrow import ipc

from src.core.files import to_json
from src.core.ledger import Drop
from src.core.records import Record
from src.core.tables import SCHEMA, record_table
from src.dedup.corpus import Corpus
from src.dedup.documents import drop_of, lines, parse, record_of, tables
from src.dedup.fates import EXACT, FATES, REASONS, SEMANTIC
from src.dedup.parts import Part
from src.dedup.shelf import Shelf
from src.dedup.spill import Spill
from src.text.buckets import SLACK

Form = Literal["parquet", "jsonl"]
_SHELVED = "sorted"


@dataclass(frozen=True)
class Sorted:
    """A part's rows; those that stay as a table or as lines."""

    table: pa.Table | None
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
    rows = task.corpus.parts[place].spill().read("rows").tolist()
    if part.kind == "jsonl":
        return _sorted_lines(task, part, task.corpus.parts[place].first_line, rows, fates)
    return _sorted_tables(task, part, rows, fates)


def _fates(task: Task, place: int) -> dict[int, tuple[str, str]]:
    """Reason and detail for each document of the part that goes, by its place in it."""
    spill = Spill.open(task.shelf.path(FATES))
    numbers = spill.mapped("number")
    base = int(task.corpus.bases[place])
    start, end = np.searchsorted(numbers, [base, task.corpus.bases[place + 1]])
    columns = {name: spill.mapped(name)[start:end] for name in spill.head["sections"]}
    survivors, through = task.corpus.names(columns["survivor"]), task.corpus.names(columns["through"])
    found = {}
    for at, number in enumerate(columns["number"].tolist()):
        reason, alike = int(columns["reason"][at]), float(columns["alike"][at])
        likeness = "Jaccard 1" if reason == EXACT else f"{'cosine' if reason == SEMANTIC else 'Jaccard'} {alike:.3f}"
        if reason not in (EXACT, SEMANTIC) and alike < task.threshold - SLACK:  # a chain: the partner at the threshold is another one
            likeness += f" through {through[at]} with {columns['through_alike'][at]:.3f}"
        detail = f"of {survivors[at]}: {likeness}, cluster {int(columns['cluster'][at]):016x}"
        found[number - base] = REASONS[reason], detail[:-4]
    return found


def _sorted_lines(task: Task, part: Part, first: int, rows: list[int], fates: dict[int, tuple[str, str]]) -> Sorted:
    document = {row: number for number, row in enumerate(rows)}
    kept: list[Any] = []
    drops = []
    for number, line in enumerate(lines(part)):
        name = f"{part.path}:{first + number}"
        fate = fates.get(document.get(number, -1))
        if number not in document:
            why = parse(line, task.column)
            if isinstance(why, tuple) and why[0]:
                drops.append(drop_of(line, name, why))
        elif fate:
            drops.append(Drop(name, *fate, record_of(orjson.loads(line), name, task.column).as_row()))
        else:
            kept.append(line if task.form == "jsonl" else record_of(orjson.loads(line), name, task.column))
    if task.form == "jsonl":
        return Sorted(None, b"".join(b"%b\n" % line for line in kept), len(kept), drops)
    return Sorted(record_table(kept), b"", len(kept), drops)


def _sorted_tables(task: Task, part: Part, rows: list[int], fates: dict[int, tuple[str, str]]) -> Sorted:
    gone = {rows[number]: fate for number, fate in fates.items()}
    drops: list[Drop] = []
    kept, start = [], 0
    for batch in tables(part, SCHEMA.names):
        table = pa.Table.from_batches([batch]).cast(SCHEMA)
        valid = table.column("text").is_valid().to_numpy()
        stays = valid.copy()
        stays[[row - start for row in gone if start <= row < start + len(stays)]] = False
        places = np.flatnonzero(~stays).tolist()
        rows_gone = table.take(pa.array(places, pa.int64())).to_pylist()
        drops += [_drop(row, gone.get(start + at)) for at, row in zip(places, rows_gone, strict=True)]
        kept.append(table.filter(pa.array(stays)))
        start += len(stays)
    found = pa.concat_tables(kept) if kept else SCHEMA.empty_table()
    if task.form == "jsonl":
        return Sorted(None, b"".join(_json_lines(found)), found.num_rows, drops)
    return Sorted(found, b"", found.num_rows, drops)


def _drop(row: dict[str, Any], fate: tuple[str, str] | None) -> Drop:
    record = Record(str(row["id"]), row["text"] or "", orjson.loads(row["meta"] or "{}"))
    reason, detail = fate or ("no_text", "'text' is null")
    return Drop(record.id, reason, detail, record.as_row())


def _json_lines(table: pa.Table) -> Iterator[bytes]:
    for row in table.to_pylist():
        yield (to_json({"id": row["id"], "text": row["text"], "meta": orjson.loads(row["meta"] or "{}")}) + "\n").encode()


def shelve_sorted(task: Task, part: Part, place: int) -> str:
    """Sort a part into a file, for an engine whose workers are elsewhere."""
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
    with ipc.open_file(pa.memory_map(str(task.shelf.path(name)))) as stream:
        table = stream.read_all()
    head = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
    drops = [Drop(**row) for row in orjson.loads(head["drops"])]
    table = table.replace_schema_metadata(None)
    if task.form == "jsonl":
        return Sorted(None, table.column("text")[0].as_py(), int(head["kept"]), drops)
    return Sorted(table, b"", int(head["kept"]), drops)
