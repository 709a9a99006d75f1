"""Ranks what a store found, so that every store gives the same rows in the same order."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from src.store.failure import StoreError
from src.store.row import Hit

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Candidate = tuple[str, Any, Mapping[str, str]]
"""Id, vector as it is stored, meta."""


def matrix(vectors: Iterable[Any], dimension: int) -> "NDArray[np.float32]":
    """Stack vectors to unit rows, shape (n, dimension).

    Raises:
        StoreError: Where one has another dimension, no direction, or a number that is none.
    """
    import numpy as np

    stacked = [np.asarray(vector, np.float64) for vector in vectors]
    if wrong := next((each.shape for each in stacked if each.shape != (dimension,)), None):
        raise StoreError(f"a vector of shape {wrong} for a store of dimension {dimension}")
    rows = np.stack(stacked) if stacked else np.zeros((0, dimension))
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    if not np.isfinite(lengths).all() or (lengths == 0).any():
        raise StoreError("a vector without a direction: all zero, or with a number that is none")
    units: NDArray[np.float32] = (rows / lengths).astype(np.float32)
    return units


def top(vector: Any, dimension: int, k: int, fetch: Callable[["NDArray[np.float32]", int], Sequence[Candidate]]) -> list[Hit]:
    """Rank the nearest rows exactly, by cosine and then by id.

    Args:
        vector: What to compare with.
        dimension: Of the store.
        k: How many hits.
        fetch: Gives about the nearest n candidates of a unit vector, fewer only where there are no more.
    """
    if k < 1:
        return []
    unit = matrix([vector], dimension)[0]
    wanted = 2 * k + 8
    while True:
        found = fetch(unit, wanted)
        hits = _ranked(unit, found)
        if len(found) < wanted or hits[-1].score < hits[k - 1].score:
            return hits[:k]
        wanted *= 4  # equal ones go beyond what was asked for, and a smaller id may be among those not seen


def _ranked(unit: "NDArray[np.float32]", found: Sequence[Candidate]) -> list[Hit]:
    import numpy as np

    if not found:
        return []
    scores = np.stack([np.asarray(vector, np.float64) for _, vector, _ in found]) @ unit.astype(np.float64)
    hits = [Hit(name, round(float(score), 6), dict(meta)) for (name, _, meta), score in zip(found, scores, strict=True)]
    return sorted(hits, key=lambda hit: (-hit.score, hit.id))
