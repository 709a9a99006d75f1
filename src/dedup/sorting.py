"""The last kind of task: part the rows of a part into those that stay and those that go, with the reason."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import ipc

from src.core.files import to_json
from src.core.ledger import Drop
from src.core.records import Record
from src.core.tables import SCHEMA, record_table
from src.dedup.corpus import Corpus
from src.dedup.documents import data_of, drop_of, parse, record_of, strict, tables
from src.dedup.fates import EXACT, FATES, NEAR, REASONS, SEMANTIC
from src.dedup.parts import Part
from src.dedup.shelf import Shelf
from src.dedup.spill import opened
from src.text.buckets import SLACK

Form = Literal["parquet", "jsonl"]
_SHELVED = "sorted"
_NEWLINE = 10


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


def _sorted_lines(task: Task, part: Part, first: int, rows: list[int], fates: dict[int, tuple[str, str]]) -> Sorted:
    data = data_of(part)
    ends = np.flatnonzero(np.frombuffer(data, np.uint8) == _NEWLINE) + 1
    if len(data) and (not len(ends) or ends[-1] < len(data)):
        ends = np.append(ends, len(data))
    starts = np.concatenate([[0], ends[:-1]])
    stays = np.zeros(len(ends), bool)
    stays[rows] = True
    gone = {rows[number]: fate for number, fate in fates.items()}
    stays[list(gone)] = False
    drops = []
    for number in np.flatnonzero(~stays).tolist():
        line, name = data[starts[number] : ends[number]].removesuffix(b"\n"), f"{part.path}:{first + number}"
        if number in gone:
            drops.append(Drop(name, *gone[number], record_of(strict(line), name, task.column).as_row()))
        elif isinstance(why := parse(line, task.column), tuple) and why[0]:
            drops.append(drop_of(line, name, why))
    if task.form == "jsonl":
        return Sorted(None, _copied(data, starts, ends, stays), int(stays.sum()), drops)
    kept = [
        record_of(strict(data[starts[number] : ends[number]]), f"{part.path}:{first + number}", task.column)
        for number in np.flatnonzero(stays).tolist()
    ]
    return Sorted(record_table(kept), b"", len(kept), drops)


def _copied(data: bytes, starts: NDArray[np.int64], ends: NDArray[np.int64], stays: NDArray[np.bool_]) -> bytes:
    """The lines that stay, runs of them together."""
    edges = np.flatnonzero(np.diff(stays, prepend=False, append=False))
    view = memoryview(data)
    text = b"".join(view[starts[begin] : ends[end - 1]] for begin, end in edges.reshape(-1, 2).tolist())
    return text + b"\n" if text and not text.endswith(b"\n") else text


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
        kept.append(_whole(table.filter(pa.array(stays))))
        start += len(stays)
    found = pa.concat_tables(kept) if kept else SCHEMA.empty_table()
    if task.form == "jsonl":
        return Sorted(None, b"".join(_json_lines(found)), found.num_rows, drops)
    return Sorted(found, b"", found.num_rows, drops)


def _whole(table: pa.Table) -> pa.Table:
    """Without nulls, which a table of others may have."""
    columns = [table.column("id").fill_null(""), table.column("text"), table.column("meta").fill_null("{}")]
    return pa.table(dict(zip(SCHEMA.names, columns, strict=True)), schema=SCHEMA)


def _drop(row: dict[str, Any], fate: tuple[str, str] | None) -> Drop:
    record = Record(row["id"] or "", row["text"] or "", orjson.loads(row["meta"] or "{}"))
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
