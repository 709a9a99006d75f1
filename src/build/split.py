"""Which documents are learned from, which choose the model, which test it: whole documents, decided by a hash."""

from collections import Counter
from collections.abc import Mapping

from pydantic import Field

from src.core.config import Config
from src.core.seeds import derive

TRAIN, VALIDATION, TEST = SPLITS = ("train", "validation", "test")
_MANY = 200  # documents from which the hash alone decides, so that a new document moves no old one
_OVER = 1.25  # how far a split may grow past its share for a document that fits badly


class Splits(Config):
    """Shares of the rows held out; the rest is for training."""

    validation: float = Field(0.05, ge=0, lt=1)
    """Share for choosing the model while it is trained."""
    test: float = Field(0.1, ge=0, lt=1)
    """Share for testing it in the end."""
    near: float | None = Field(0.8, gt=0, le=1)
    """Jaccard similarity of word 5-grams from which rows share a split; null: only what is the same document does."""
    stratify: tuple[str, ...] = ()
    """What each split should hold in the same shares: label, or the key of a tag (persona, tone, domain, source, device, kind, tool …)."""


def assign(sizes: Mapping[str, int], shares: Splits, seed: int) -> dict[str, str]:
    """Give each document to a split.

    Of many documents each one's hash decides alone. Few are taken in the order of their hashes, whole, until a share is
    filled; from three documents on every split that has a share gets one.

    Args:
        sizes: How many rows each document has.
        shares: The share of each split.
        seed: Another seed, other splits.
    """
    order = sorted(sizes, key=lambda key: (derive(seed, "split", key), key))
    if len(order) >= _MANY:
        return {key: _by_hash(derive(seed, "split", key) / 2**32, shares) for key in order}
    given = dict.fromkeys(order, TRAIN)
    total = sum(sizes.values())
    for split, share in ((TEST, shares.test), (VALIDATION, shares.validation)):
        left = [key for key in order if given[key] == TRAIN]
        if share and len(left) > 1:
            given |= dict.fromkeys(_fill(left, sizes, share * total), split)
    return given


def assign_evenly(strata: Mapping[str, Counter[str]], shares: Splits, seed: int) -> dict[str, str]:
    """Give each document to a split so that every stratum has its shares in each, to a document's size.

    Systematic sampling: documents in the order of their strata (a document is of the one most of its rows are of), within
    one by hash; a split takes the next document once it has fallen behind its share by half of that one.

    Args:
        strata: How many rows of which stratum each document has.
        shares: The share of each split.
        seed: Another seed, other splits.
    """
    main = {key: max(sorted(rows), key=lambda stratum: rows[stratum]) for key, rows in strata.items()}
    wanted = {TEST: shares.test, VALIDATION: shares.validation}
    given: dict[str, str] = {}
    held: Counter[str] = Counter()
    passed = 0
    for key in sorted(strata, key=lambda key: (main[key], derive(seed, "split", key), key)):
        size = strata[key].total()
        passed += size
        split = max(wanted, key=lambda split: wanted[split] * passed - held[split])
        given[key] = split if wanted[split] * passed - held[split] >= size / 2 else TRAIN
        held[given[key]] += size
    if any(share and not held[split] for split, share in wanted.items()):  # too few for that
        return assign({key: rows.total() for key, rows in strata.items()}, shares, seed)
    return given


def _by_hash(place: float, shares: Splits) -> str:
    if place < shares.test:
        return TEST
    return VALIDATION if place < shares.test + shares.validation else TRAIN


def _fill(left: list[str], sizes: Mapping[str, int], target: float) -> list[str]:
    """Take documents in their order until the target is reached, passing over those too large; at least the smallest."""
    taken: list[str] = []
    rows = 0
    for key in left[:]:
        if rows < target and rows + sizes[key] <= _OVER * target and len(taken) < len(left) - 1:
            taken.append(key)
            rows += sizes[key]
    return taken or [min(left, key=lambda key: (sizes[key], left.index(key)))]
