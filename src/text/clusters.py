"""Find the texts that are near-duplicates of each other: LSH for candidates, exact Jaccard before two are joined."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from src.text.minhash import PERMUTATIONS, U32, U64, band_keys, jaccard, rows_for, signature

CAP = 64
"""Members of a bucket that each further one is compared with: a template shared by thousands stays affordable."""
_SLACK = 1e-9
_BLOCK = 4096


@dataclass
class Clusters:
    """Groups of texts, by their numbers, that grow as pairs are joined."""

    parents: list[int]
    links: dict[int, tuple[int, float]] = field(default_factory=dict)
    """For each joined text another one of its group whose Jaccard reaches the threshold, and that Jaccard."""
    compared: int = 0
    """Pairs whose Jaccard was computed."""

    def root(self, member: int) -> int:
        """The lowest number in the group of `member`."""
        while (parent := self.parents[member]) != member:
            self.parents[member] = self.parents[parent]
            member = parent
        return member

    def join(self, one: int, other: int, likeness: float) -> None:
        """Make one group of two texts' groups."""
        self.links.setdefault(one, (other, likeness))
        self.links.setdefault(other, (one, likeness))
        low, high = sorted((self.root(one), self.root(other)))
        self.parents[high] = low


def clusters(hashes: Sequence[U32], *, threshold: float) -> Clusters:
    """Group texts so that any two with a Jaccard of at least `threshold` are together, but for 1 % of those right at it.

    No two are joined unverified, so a group holds only texts with such a partner in it; a chain may hold pairs less alike.
    The numbering decides which pairs are compared where a bucket holds more than 64 groups: give texts an order of their
    content, and the groups hang on nothing else.
    Source: Leskovec, Rajaraman and Ullman, "Mining of Massive Datasets", section 3.4.

    Args:
        hashes: The `shingle_hashes` of each text.
        threshold: Least Jaccard of two texts that are joined directly.
    """
    found = Clusters(list(range(len(hashes))))
    for keys in _keys(hashes, rows_for(threshold)):
        for bucket in _buckets(keys):
            _verify(bucket, hashes, threshold, found)
    return found


def _keys(hashes: Sequence[U32], rows: int) -> U64:
    """Keys by band and text; the signatures, thrice as large, are there for some texts at a time."""
    keys = np.empty((PERMUTATIONS // rows, len(hashes)), np.uint64)
    for start in range(0, len(hashes), _BLOCK):
        block = np.array([signature(each) for each in hashes[start : start + _BLOCK]], np.uint32)
        keys[:, start : start + len(block)] = band_keys(block, rows).T
    return keys


def _buckets(keys: U64) -> Iterator[list[int]]:
    """Yield the texts of each key that occurs more than once, in their order."""
    order = np.argsort(keys, kind="stable")
    edges = np.flatnonzero(np.diff(keys[order])) + 1
    starts = np.concatenate(([0], edges))
    ends = np.concatenate((edges, [len(keys)]))
    several = ends - starts > 1
    for start, end in zip(starts[several], ends[several], strict=True):
        yield order[start:end].tolist()


def _verify(bucket: list[int], hashes: Sequence[U32], threshold: float, found: Clusters) -> None:
    """Join each member with the earlier ones that are alike and not yet of its group.

    To compare with one representative only would miss pairs that reach each other through another member.
    """
    earlier: list[int] = []
    for member in bucket:
        for other in earlier:
            if found.root(other) == found.root(member):
                continue
            if (likeness := _likeness(hashes[other], hashes[member], threshold, found)) >= threshold - _SLACK:
                found.join(other, member, likeness)
        if len(earlier) < CAP:
            earlier.append(member)


def _likeness(one: U32, other: U32, threshold: float, found: Clusters) -> float:
    """The Jaccard, or 0 where the sizes alone keep it under the threshold."""
    if min(len(one), len(other)) < (threshold - _SLACK) * max(len(one), len(other)):
        return 0.0
    found.compared += 1
    return jaccard(one, other)
