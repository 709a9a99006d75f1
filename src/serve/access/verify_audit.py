"""Checks the audit log line by line, and says which one was changed, taken away or moved."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from src.serve.access.audit import SEAL, sealed


@dataclass
class Verified:
    """What a folder of chains is worth."""

    chains: int = 0
    lines: int = 0
    faults: list[str] = field(default_factory=list)
    """`file:line: what is wrong with it`."""
    notes: list[str] = field(default_factory=list)
    """What is no sign of a change: a last line that a crash tore."""


def verify(folder: Path, key: bytes | None) -> Verified:
    """Check every chain in `folder`."""
    found = Verified()
    seals: dict[str, dict[int, str]] = {}
    openings: dict[str, dict[str, str]] = {}
    for path in sorted(folder.glob("*.jsonl")):
        found.chains += 1
        chain = _Chain(path, key, found)
        seals[path.stem], openings[path.stem] = chain.seals, chain.before
    for path in sorted(folder.glob("*.head")):
        if path.stem not in seals:
            found.faults.append(f"{path.with_suffix('.jsonl')}: the whole file is gone")
    for name, before in openings.items():
        for other, seal in before.items():
            if other not in seals:
                found.faults.append(f"{folder / other}.jsonl: the whole file is gone; {name}.jsonl names it")
            elif seal not in seals[other].values():
                found.faults.append(f"{folder / other}.jsonl: the line is gone that {name}.jsonl names as its last")
    found.faults = list(dict.fromkeys(found.faults))
    return found


class _Chain:
    """Reads one file; its faults go to `found`."""

    def __init__(self, path: Path, key: bytes | None, found: Verified) -> None:
        self.path, self.key, self.found = path, key, found
        self.seals: dict[int, str] = {}
        self.before: dict[str, str] = {}
        data = path.read_bytes()
        whole, _, torn = data.rpartition(b"\n")
        rows = [self._read(line) for line in whole.split(b"\n")] if whole else []
        numbers = {row["n"] for row in rows if row}
        last, wanted = "", 1
        for place, row in enumerate(rows, 1):
            if row is None or sealed(row, key) != row.get(SEAL):
                self._fault(place, self._worth(row))
                last, wanted = "", wanted + 1
                continue
            for fault in self._place(row, wanted, last, numbers):
                self._fault(place, fault)
            self.seals[row["n"]] = last = row[SEAL]
            wanted = row["n"] + 1
            self.before |= row.get("before") or {}
        found.lines += len(rows)
        if torn:
            found.notes.append(f"{path}:{len(rows) + 1}: the last line is torn, as a crash leaves it; {len(torn)} bytes")
        self._end(max(numbers, default=0))

    def _worth(self, row: dict[str, Any] | None) -> str:
        if row is None:
            return "this is no line of the log"
        if row.get("n") == 1 and bool(row.get("keyed")) != bool(self.key):
            return "sealed with a key that is not set here" if row.get("keyed") else "sealed without a key, and one is set here"
        return "was changed: its seal does not fit"

    def _place(self, row: dict[str, Any], wanted: int, last: str, numbers: set[int]) -> Iterator[str]:
        """Say what is wrong with where a line stands, which is whole itself."""
        number = row["n"]
        if number > wanted and not any(wanted <= each < number for each in numbers):
            gone = f"line n={wanted} was" if number == wanted + 1 else f"lines n={wanted} to {number - 1} were"
            yield f"before it {gone} taken away"
        elif number != wanted:
            yield f"stands out of order: n={number} where n={wanted} belongs"
        elif last and row.get("prev") != last:
            yield "does not follow the line before it"

    def _end(self, last: int) -> None:
        head = self.path.with_suffix(".head")
        try:
            text = head.read_text(encoding="ascii")
            if not text and last <= 1:  # killed between its first line and this
                return
            number = int(text.split()[0])
        except (OSError, ValueError, IndexError):
            self.found.faults.append(f"{head}: is missing or damaged, so lines may be missing at the end")
            return
        if number > last:
            self.found.faults.append(f"{self.path}: lines n={last + 1} to {number} were taken away from the end (or lost with the power)")

    @staticmethod
    def _read(line: bytes) -> dict[str, Any] | None:
        try:
            row = json.loads(line)
        except ValueError:
            return None
        return row if isinstance(row, dict) and isinstance(row.get("n"), int) else None

    def _fault(self, place: int, what: str) -> None:
        self.found.faults.append(f"{self.path}:{place}: {what}")
