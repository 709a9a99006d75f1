"""What a stage is handed while it runs: where to read and write, a ledger, a log, progress, resumable pieces."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any, TypeVar

from src.core.config import Config
from src.core.errors import MlxError
from src.core.files import atomic, digest
from src.core.ledger import Drop, Ledger
from src.core.manifest import Manifest
from src.core.packed import pack, unpack
from src.core.records import Record

T = TypeVar("T")
PART = 20_000
"""Rows of a part of a piece of work: what a kill may cost."""


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
        reread: Callable[[], Config] | None = None,
        arguments: Sequence[str] = (),
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
        self.reread = reread
        """Reads the stage's config anew, for a service that takes up changes; raises a ConfigError where it is not sound."""
        self.arguments = list(arguments)
        """The project's file and the overrides, for a process that loads the same settings."""
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

    def piece(self, name: str, make: Callable[[int], Iterable[Record | Drop | bytes]], *, rows: int = PART) -> Iterator[Record | Drop]:
        """Do a piece of work once, in parts of as many rows: each part lands in a file, whole or not at all, and is read back after a kill.

        Args:
            name: What the piece is, such as the path of the file it reads; unique within the run.
            make: Yields the records kept and the rows dropped behind the first so many, which are done; as lines of `pack` where
                another process has packed them. It is not called where all parts are there.
            rows: How many rows a part has; the last one has fewer, be it none.
        """
        done = 0
        items: Iterator[Record | Drop | bytes] | None = None
        while True:
            path = self.work / f"{digest(name)}-{rows}-{done}.jsonl"
            if not path.exists():
                items = items or iter(make(done))
                with atomic(path, "wb") as stream:
                    stream.writelines(item if isinstance(item, bytes) else pack(item) for item in islice(items, rows))
            count = 0
            with path.open("rb") as lines:
                for count, line in enumerate(lines, 1):  # noqa: B007 (counts)
                    yield unpack(line)
            if count < rows:
                return
            done += count

    def kept(self, items: Iterable[Record | Drop]) -> Iterator[Record]:
        """Pass on the records, and write the drops into the ledger."""
        for item in items:
            if isinstance(item, Drop):
                self.ledger.drop(item)
            else:
                yield item
