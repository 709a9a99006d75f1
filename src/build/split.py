"""Which documents are learned from, which choose the model, which test it: whole documents, decided by a hash."""

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
