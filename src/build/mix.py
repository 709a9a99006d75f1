"""How much of each source training sees: by weight, in rows or tokens, with rows left out or shown again."""

from collections.abc import Iterator, Sequence
from copy import copy
from typing import Any, Literal

from pydantic import Field

from src.build.candidate import Candidate
from src.build.split import TRAIN
from src.core.config import Config
from src.core.ledger import Drop
from src.core.records import Example
from src.core.seeds import derive


class Mix(Config):
    """Shares of the sources in the training split; validation and test stay as they are."""

    weights: dict[str, float] = Field(default_factory=dict)
    """Weight of each source, by its `name` or type (a second one of a type is chats2); sources without a weight stay whole."""
    by: Literal["tokens", "rows"] = "tokens"
    """What the weights share out."""
    total: int | None = Field(None, ge=1)
    """Rows or tokens of the mix; null for as many as the scarcest source allows."""
    repeat: int = Field(1, ge=1)
    """How often a row may be shown at most."""


class Mixed:
    """One mixing: which rows stay, which come again, and what came of it."""

    def __init__(self, mix: Mix, seed: int) -> None:
        self.mix = mix
        self.seed = seed
        self.info: dict[str, Any] = {}
        """By source: its `share` wanted, `available`, `wanted` and `taken` rows or tokens, and the `repeats` among its rows."""

    def rows(self, candidates: Sequence[Candidate]) -> Iterator[Candidate | Drop]:
        """Pass on the rows of the mix, some of them again with `repeat` set; the rest are drops `over_mix`."""
        weights = {name: weight for name, weight in self.mix.weights.items() if weight > 0}
        shares = {name: weight / sum(weights.values()) for name, weight in weights.items()}
        mixed = {name: [row for row in candidates if row.split == TRAIN and row.source == name] for name in self.mix.weights}
        sizes = {name: sum(map(self.size, rows)) for name, rows in mixed.items()}
        present = {name: share for name, share in shares.items() if sizes[name]}
        most = min((self.mix.repeat * sizes[name] / share for name, share in present.items()), default=0)
        total = self.mix.total or most
        yield from (row for row in candidates if row.split != TRAIN or row.source not in mixed)
        for name, rows in mixed.items():
            yield from self.of_source(name, rows, sizes[name], shares.get(name, 0.0), total)

    def of_source(self, name: str, rows: list[Candidate], available: int, share: float, total: float) -> Iterator[Candidate | Drop]:
        """Take rows in the order of their hashes, round after round, until the source has given what is wanted."""
        wanted = round(share * total)
        order = sorted(rows, key=lambda row: (derive(self.seed, "mix", row.example["id"]), row.example["id"]))
        taken = repeats = 0
        for turn in range(self.mix.repeat):
            for row in order:
                size = self.size(row)
                if size / 2 <= wanted - taken:  # the next row would come closer to what is wanted
                    taken += size
                    repeats += turn > 0
                    yield again(row, turn) if turn else row
                elif not turn:
                    yield Drop(row.example["id"], "over_mix", f"{name}: {wanted:,} of {available:,} {self.mix.by}", dict(row.example))
        self.info[name] = {"share": round(share, 4), "available": available, "wanted": wanted, "taken": taken, "repeats": repeats}

    def size(self, row: Candidate) -> int:
        """What a row counts in the mix."""
        return row.tokens if self.mix.by == "tokens" else 1


def again(row: Candidate, turn: int) -> Candidate:
    """The same row once more, under a name of its own."""
    other = copy(row)
    other.example = Example(**{**row.example, "id": f"{row.example['id']}~{turn + 1}"})  # type: ignore[typeddict-item]
    other.repeat = turn
    return other
