"""The life of a row: what each stage did with an id, from the outputs on disk."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from src.core.files import read_jsonl
from src.core.ledger import DROPPED
from src.core.reasons import explained

_SHOWN = 3


def life(row: str, folders: dict[str, Path]) -> Iterator[str]:
    """Yield a line for each thing that happened to the row `row` in the stages' output `folders`, in their order."""
    for stage, folder in folders.items():
        for line in (*_kept(row, folder), *_made(row, folder), *_dropped(row, folder)):
            yield f"{stage}: {line}"


def like(row: str, folders: dict[str, Path]) -> list[str]:
    """Ids that resemble one that is nowhere."""
    from difflib import get_close_matches

    ids: set[str] = set()
    for folder in folders.values():
        ids |= {str(dropped["id"]) for dropped in _rows(folder / DROPPED)} | set(_ids(folder))
    inside = sorted(each for each in ids if row in each)
    return inside[:5] or get_close_matches(row, sorted(ids), n=5, cutoff=0.5)


def _kept(row: str, folder: Path) -> Iterator[str]:
    for record in _records(folder, row):
        about = ", ".join(f"{key} {record.meta[key]}" for key in ("title", "author", "language", "label") if record.meta.get(key))
        yield f"kept, {len(record.text.split()):,} words" + (f" ({about})" if about else "")


def _made(row: str, folder: Path) -> Iterator[str]:
    """Examples that have this id, or were made from the record of this id."""
    for file in sorted(folder.glob("*.jsonl")):
        if file.name == DROPPED:
            continue
        examples = [each for each in _rows(file) if row == each.get("id") or row in each.get("sources", ()) or _part(each.get("id"), row)]
        if own := next((each for each in examples if each.get("id") == row), None):
            yield f"in {file.stem}, made from {', '.join(own.get('sources') or ['nothing before it'])}"
        elif examples:
            names = ", ".join(str(each.get("id")) for each in examples[:_SHOWN])
            yield f"{len(examples)} examples in {file.stem}: {names}" + (", …" if len(examples) > _SHOWN else "")


def _dropped(row: str, folder: Path) -> Iterator[str]:
    others: list[str] = []
    for drop in _rows(folder / DROPPED):
        if drop["id"] == row:
            yield f"dropped: {drop['reason']}" + (f" ({drop['detail']})" if drop["detail"] else "")
            if about := explained(drop["reason"]):
                yield f"  {about}"
        elif _part(drop["id"], row):
            yield f"its {drop['id'].rpartition('#')[2]} dropped: {drop['reason']}" + (f" ({drop['detail']})" if drop["detail"] else "")
        elif row in [word.strip(":,;()") for word in str(drop["detail"]).split()] or row in ((drop["row"] or {}).get("sources") or ()):
            others.append(f"{drop['id']} ({drop['reason']})")
    if others:
        yield f"{len(others)} dropped that name it: {', '.join(others[:_SHOWN])}" + (", …" if len(others) > _SHOWN else "")


def _part(name: Any, row: str) -> bool:
    """Whether an id is that of a part of the row: a window of a long conversation, or a turn that was taught apart."""
    return isinstance(name, str) and name.startswith((f"{row}#part", f"{row}#turn"))


def _records(folder: Path, row: str) -> list[Any]:
    if not (folder / "records.parquet").exists():
        return []
    from src.core.tables import read_records

    return [record for record in read_records(folder) if record.id == row]


def _ids(folder: Path) -> Iterator[str]:
    if (folder / "records.parquet").exists():
        from src.core.tables import read_records

        yield from (record.id for record in read_records(folder))
    for file in folder.glob("*.jsonl"):
        yield from (str(row["id"]) for row in _rows(file) if "id" in row)


def _rows(file: Path) -> Iterator[dict[str, Any]]:
    if file.exists():
        yield from read_jsonl(file)
