"""Run the checks of a dataset and say which hold."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from src.build.checks import Check
from src.build.split import SPLITS
from src.core.errors import MlxError
from src.core.files import read_jsonl
from src.core.grid import grid

_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of one check."""

    check: str
    """Its type, with the settings that are its own."""
    state: str
    """`pass`, `fail`, or `tolerated` for a failure that does not count."""
    rows: int
    """Rows looked at."""
    failed: int
    allowed: float
    """Share of rows that may fail."""
    shown: tuple[str, ...]
    """The first failures, as `id: what`."""

    def as_row(self) -> dict[str, Any]:
        """The verdict for a manifest."""
        return {
            "check": self.check,
            "state": self.state,
            "rows": self.rows,
            "failed": self.failed,
            "allowed": self.allowed,
            "shown": list(self.shown),
        }


def check(folder: Path, checks: Sequence[Check]) -> Iterator[Verdict]:
    """Run `checks` over the dataset in `folder`, one verdict after the other.

    Raises:
        MlxError: Where there is no dataset.
    """
    rows = [row for split in SPLITS for row in read_split(folder, split)]
    for each in checks:
        yield judge(each, [row for row in rows if row["split"] in each.splits])


def judge(each: Check, rows: Sequence[dict[str, Any]]) -> Verdict:
    """Run one check over rows that know their `split`."""
    faults = list(each.faults(rows))
    of_rows = each.type not in ("balance", "rows")
    good = len(faults) <= each.max_share * len(rows) if of_rows else not faults
    state = "pass" if good else "tolerated" if each.tolerate else "fail"
    shown = tuple(f"{name}: {what}" for name, what in islice(faults, _SHOWN))
    return Verdict(_named(each), state, len(rows), len(faults), each.max_share if of_rows else 0.0, shown)


def read_split(folder: Path, split: str) -> Iterator[dict[str, Any]]:
    """Yield the rows of a split, conversations and preferences alike, each with its `split`."""
    if not (folder / f"{split}.jsonl").exists():
        raise MlxError(f"{folder}: no {split}.jsonl", "run `mlx build` first")
    for name in (f"{split}.jsonl", f"{split}_preferences.jsonl"):
        if (folder / name).exists():
            for row in read_jsonl(folder / name):
                if "chosen" in row:
                    row["messages"] = [*row.pop("prompt"), *row.pop("chosen")]
                yield {**row, "split": split}


def table(verdicts: Iterable[Verdict]) -> str:
    """Lay the verdicts out for the terminal."""
    rows = [
        [each.state, each.check, f"{each.failed:,} of {each.rows:,}", f"{each.allowed:.1%}", "; ".join(each.shown)[:100]]
        for each in verdicts
    ]
    return grid(rows, ["", "check", "failed", "allowed", "for example"], right=(2, 3))


def _named(each: Check) -> str:
    own = each.model_dump(mode="json", exclude_defaults=True, exclude={"type", "max_share", "tolerate", "splits"})
    settings = ", ".join(f"{key}={','.join(map(str, value)) if isinstance(value, list) else value}" for key, value in own.items())
    return f"{each.type}({settings})" if settings else each.type
