"""Seeing that every row and every label that goes into TRL's trainer is in what it trains on; TRL drops rows without a word."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any

from src.train.rows import IGNORED, Row

_LOOKED_AT = 8  # sequences that are collated


def accounted(dataset: Any, collate: Any, rows: Sequence[Row], *, packing: bool) -> None:
    """Compare the trainer's dataset with `rows`, and a batch with its labels.

    Raises:
        RuntimeError: Where a row is missing, cut or changed, has nothing to learn, or loses labels in a batch, as it does
            where the padding token is the one that ends a turn and padding is found by its id.
    """
    given = Counter((tuple(row.ids), tuple(row.labels)) for row in rows)
    there = Counter(_sequences(dataset, packing=packing))
    if given != there:
        lost = [row.id for row in rows if not there[tuple(row.ids), tuple(row.labels)]]
        names = f": {', '.join(lost[:5])}" if lost else ""
        raise RuntimeError(f"of {len(rows)} rows, {(given & there).total()} are left in the trainer's dataset as they were{names}")
    if blank := [row.id for row in rows if not _learned(row.labels)]:
        raise RuntimeError(f"{len(blank)} rows have no token to learn: {', '.join(blank[:5])}")
    few = [dataset[place] for place in range(min(_LOOKED_AT, len(dataset)))]
    expected, found = sum(_learned(labels) for _, labels in _sequences(few, packing=packing)), _in_batch(collate(few))
    if found != expected:
        raise RuntimeError(f"of {expected} tokens to learn, {found} are left in a batch: is the padding token one that is learned?")


def _sequences(dataset: Any, *, packing: bool) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    for each in dataset:
        lengths = each["seq_lengths"] if packing else [len(each["input_ids"])]
        for start, end in pairwise(accumulate(lengths, initial=0)):
            yield tuple(each["input_ids"][start:end]), tuple(each["labels"][start:end])


def _learned(labels: Sequence[int]) -> int:
    """Labels that count: the first token of a sequence is predicted from nothing."""
    return sum(label != IGNORED for label in labels[1:])


def _in_batch(batch: Mapping[str, Any]) -> int:
    labels = batch["labels"]
    first = batch["position_ids"] == 0 if "position_ids" in batch else None
    if first is None:
        return int((labels[:, 1:] != IGNORED).sum())
    return int(((labels != IGNORED) & ~first).sum())
