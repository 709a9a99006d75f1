"""What a stage is handed while it runs: where to read and write, a ledger, a log, progress, resumable pieces."""

import json
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

from src.core.errors import MlxError
from src.core.files import atomic, digest, to_json
from src.core.ledger import Drop, Ledger
from src.core.manifest import Manifest
from src.core.records import Record

T = TypeVar("T")


@dataclass(frozen=True)
class Upstream:
    """An input: the folder of a finished stage, or a file of the user's."""

    path: Path
    fingerprint: str
    manifest: Manifest | None = None


class Run:
    """One run of one stage."""

    def __init__(
        self,
        *,
        stage: str,
        name: str,
        seed: int,
        output: Path,
        work: Path,
        cache: Path,
        inputs: dict[str, tuple[Upstream, ...]],
        fresh: bool = False,
    ) -> None:
        self.stage = stage
        self.name = name
        self.seed = seed
        self.output = output
        """An empty folder to write to; it takes the place of the stage's last output once the stage has ended well."""
        self.work = work
        """A folder for unfinished work: still there when the same run starts again after a kill, gone once it is done."""
        self.cache = cache
        """A folder for what stays useful whatever the config: models made here."""
        self.inputs = inputs
        self.fresh = fresh
        """Whether someone asked to begin anew, whatever is there."""
        self.ledger = Ledger(output)
        self.log = logging.getLogger(f"mlx.{stage}")
        self.info: dict[str, Any] = {}
        """What goes into the manifest's `info`."""

    def input(self, role: str) -> Upstream:
        """The one input of this role."""
        found = self.inputs.get(role, ())
        if len(found) != 1:
            raise MlxError(f"{self.stage} reads one {role} input, and has {len(found)}", f"set {self.stage}.input to one folder")
        return found[0]

    def has(self, role: str) -> bool:
        """Whether there is an input of this role."""
        return bool(self.inputs.get(role))

    def records(self, role: str = "records") -> Iterator[Record]:
        """The records of every input of this role, in order."""
        from src.core.tables import read_records

        for upstream in self.inputs.get(role, ()):
            yield from read_records(upstream.path)

    def count(self, role: str = "records") -> int:
        """How many records the inputs of this role hold."""
        from src.core.tables import count_records

        return sum(count_records(upstream.path) for upstream in self.inputs.get(role, ()))

    def write(self, name: str, mode: str = "w") -> AbstractContextManager[IO[Any]]:
        """Open an output file that is there whole or not at all."""
        return atomic(self.output / name, mode)

    def write_records(self, records: Iterable[Record]) -> None:
        """Write the stage's records, and account for them as kept."""
        from src.core.tables import RECORDS, write_records

        self.ledger.keep(write_records(self.output / RECORDS, records))

    def progress(self, items: Iterable[T], *, total: int | None = None, unit: str = "row", desc: str = "") -> Iterable[T]:
        """Pass `items` on under a progress bar with rate and ETA."""
        from tqdm.auto import tqdm

        bar: Iterable[T] = tqdm(items, total=total, unit=unit, desc=desc or self.stage, mininterval=0.5, leave=False, delay=1)
        return bar

    def piece(self, name: str, make: Callable[[], Iterable[Record | Drop]]) -> Iterator[Record | Drop]:
        """Do a piece of work once: its rows land in one file, whole or not at all, and are read back after a kill.

        Args:
            name: What the piece is, such as the path of the file it reads; unique within the run.
            make: Yields the records kept and the rows dropped.
        """
        import orjson

        path = self.work / f"{digest(name)}.jsonl"
        if not path.exists():
            with atomic(path, "wb") as stream:
                for item in make():
                    stream.write(_line(_packed(item)))
        with path.open("rb") as stream:
            for line in stream:
                yield _unpacked(json.loads(line) if line.startswith(b" ") else orjson.loads(line))

    def kept(self, items: Iterable[Record | Drop]) -> Iterator[Record]:
        """Pass on the records, and write the drops into the ledger."""
        for item in items:
            if isinstance(item, Drop):
                self.ledger.drop(item)
            else:
                yield item


def _line(values: list[Any]) -> bytes:
    """One line of JSON; what the quick writer cannot hold, such as a lone surrogate, goes the slow way, behind a blank."""
    import orjson  # here, since what starts light imports this module

    try:
        return orjson.dumps(values, default=str, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:
        return b" " + to_json(values).encode() + b"\n"


def _packed(item: Record | Drop) -> list[Any]:
    if isinstance(item, Drop):
        return ["drop", item.id, item.reason, item.detail, item.row]
    return ["keep", item.id, item.text, item.meta]


def _unpacked(row: list[Any]) -> Record | Drop:
    kind, *values = row
    return Drop(*values) if kind == "drop" else Record(*values)
