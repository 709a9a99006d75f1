"""Sketches of an earlier run, kept so that a new crawl is held against it without reading its texts again."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import orjson

from src.core.errors import MlxError
from src.core.files import write_text
from src.dedup.corpus import Sketched
from src.dedup.shelf import Shelf
from src.dedup.sketching import Method
from src.dedup.spill import SpillError

FOLDER = "index"
_LIST = "index.json"


def save_index(folder: Path, parts: Sequence[Sketched], method: Method) -> None:
    """Copy the sketches into a folder of the output."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number, part in enumerate(parts):
        name = f"{number:06}.sketch"
        shutil.copyfile(part.shelf.path(part.name), folder / name)
        rows.append({"name": name, "documents": part.documents, "path": part.path, "kind": part.kind, "first_line": part.first_line})
    write_text(folder / _LIST, orjson.dumps({"method": method.key, "parts": rows}, option=orjson.OPT_INDENT_2).decode() + "\n")


def load_index(folder: Path, method: Method, *, scored: bool) -> list[Sketched]:
    """Open an index, or the one in a dedup output; fails where it is damaged or was made by another method."""
    place = folder / FOLDER if (folder / FOLDER).is_dir() else folder
    try:
        found = orjson.loads((place / _LIST).read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise MlxError(f"{place} is no index of sketches: {error}", "make one with dedup.save_index: true") from None
    if found["method"] != method.key:
        hint = "set unit, ngram and threshold as it was made, or make it again"
        raise MlxError(f"{place} was made with another unit, ngram, threshold or version", hint)
    parts = [Sketched(Shelf(str(place.absolute())), **row) for row in found["parts"]]
    for part in parts:
        check(part, scored=scored)
    return parts


def check(part: Sketched, *, scored: bool) -> None:
    """Fail where a part of an index is short or damaged."""
    try:
        spill = part.spill()
        spill.check()
    except (SpillError, OSError) as error:
        raise MlxError(f"a part of the index cannot be used: {error}", "make the index again") from None
    if scored and "scores" not in spill.head["sections"]:
        raise MlxError(f"{spill.path}: holds no scores, which dedup.keep asks for", "make the index with the same dedup.keep")
