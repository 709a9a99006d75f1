"""What bench_dedup.py holds results against: every pair of documents over a Jaccard, found exactly and without any sketch."""

import json
import re
import unicodedata
from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

_ALONE = "\u0e00-\u0eff\u2e80-\u2fdf\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_WORD = re.compile(rf"[{_ALONE}]|[^\W_{_ALONE}]+")


def words(text: str) -> list[str]:
    """Words of a casefolded text, accents composed; the marks, unlike the letters they stand on, are not kept apart."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


@dataclass
class Truth:
    """All pairs at or over a Jaccard."""

    count: int
    pairs: np.ndarray
    """Shape (pairs, 2)."""
    likeness: np.ndarray

    def over(self, threshold: float) -> np.ndarray:
        """The pairs at or over a higher one."""
        return self.pairs[self.likeness >= threshold - 1e-9]


def gram_sets(path: Path, size: int = 5) -> list[np.ndarray]:
    """The distinct runs of words of each document, as 64-bit numbers; shorter documents have one, of all their words, or signs."""
    rng = np.random.default_rng(0)
    number: dict[str, int] = defaultdict(lambda: len(number))
    found, salts = [], rng.integers(1, 2**63, 1 << 22, dtype=np.uint64)
    with path.open() as stream:
        for line in stream:
            text = json.loads(line)["text"]
            ids = [number[word] for word in words(text)]
            if len(ids) < size:
                found.append(np.array([hash(tuple(ids) or text) & (2**64 - 1)], np.uint64))
                continue
            keys = salts[np.array(ids) % len(salts)] + np.array(ids, np.uint64)
            runs = np.zeros(len(ids) - size + 1, np.uint64)
            for place in range(size):
                runs = runs * np.uint64(0x9E3779B97F4A7C15) + keys[place : place + len(runs)]
                runs ^= runs >> np.uint64(29)
            found.append(np.unique(runs))
    return found


def truth(sets: list[np.ndarray], threshold: float) -> Truth:
    """Join by prefixes: two sets so alike share one of their rarest members (Chaudhuri, Ganti and Kaushik 2006)."""
    sizes = np.array([len(each) for each in sets])
    owner = np.repeat(np.arange(len(sets)), sizes)
    inverse, counts = np.unique(np.concatenate(sets), return_inverse=True, return_counts=True)[1:]
    order = np.lexsort((inverse, counts[inverse], owner))
    rank = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    prefix = sizes - np.ceil(threshold * sizes - 1e-9).astype(int) + 1
    chosen = order[(rank < np.repeat(prefix, sizes)) & (counts[inverse[order]] > 1)]
    keys = inverse[chosen]
    by_key = np.argsort(keys, kind="stable")
    edges = np.flatnonzero(np.diff(keys[by_key], prepend=-1, append=-1))
    members = owner[chosen][by_key]
    pairs = _candidates(members, edges, sizes, threshold)
    likeness = np.array([_jaccard(sets[a], sets[b]) for a, b in pairs])
    good = likeness >= threshold - 1e-9
    return Truth(len(sets), pairs[good], likeness[good])


def _candidates(members: np.ndarray, edges: np.ndarray, sizes: np.ndarray, threshold: float) -> np.ndarray:
    merged, waiting, held = np.zeros(0, np.int64), [], 0
    for start, end in pairwise(edges):
        if end - start < 2:
            continue
        group = np.sort(members[start:end])
        a, b = (group[each] for each in np.triu_indices(len(group), 1))
        close = np.minimum(sizes[a], sizes[b]) >= threshold * np.maximum(sizes[a], sizes[b]) - 1e-9
        waiting.append(a[close] << 32 | b[close])
        held += len(waiting[-1])
        if held > 20_000_000:
            merged, waiting, held = np.unique(np.concatenate([merged, *waiting])), [], 0
    merged = np.unique(np.concatenate([merged, *waiting]))
    return np.stack([merged >> 32, merged & 0xFFFFFFFF], axis=1)


def _jaccard(one: np.ndarray, other: np.ndarray) -> float:
    if len(one) > len(other):
        one, other = other, one
    places = np.searchsorted(other, one)
    shared = int((other[np.minimum(places, len(other) - 1)] == one).sum())
    return shared / (len(one) + len(other) - shared)


def judge(found: Truth, clusters: np.ndarray, removed: np.ndarray, threshold: float = 0.8) -> dict[str, object]:
    """Pair recall, removals without a document over the threshold, true groups without one that stayed.

    Args:
        found: The pairs.
        clusters: For each document the name of the group it was put into.
        removed: For each whether it went.
        threshold: What counts as a duplicate.
    """
    pairs = found.over(threshold)
    close = found.likeness[found.likeness >= threshold - 1e-9] < threshold + 0.05
    together = clusters[pairs[:, 0]] == clusters[pairs[:, 1]]
    partnered = np.zeros(found.count, bool)
    partnered[pairs.reshape(-1)] = True
    parents = np.arange(found.count)
    for a, b in pairs.tolist():
        parents[max(_root(parents, a), _root(parents, b))] = min(_root(parents, a), _root(parents, b))
    roots = np.array([_root(parents, each) for each in range(found.count)])
    survivors = np.zeros(found.count, int)
    np.add.at(survivors, roots[~removed], 1)
    members = np.bincount(roots, minlength=found.count)
    return {
        "pairs": len(pairs),
        "pair_recall": round(float(together.mean()), 5) if len(pairs) else 1.0,
        "pair_recall_first_0.05": round(float(together[close].mean()), 5) if close.any() else 1.0,
        "removed": int(removed.sum()),
        "unjustified": int((removed & ~partnered).sum()),
        "lost_clusters": int(((members > 1) & (survivors == 0)).sum()),
        "oracle_removals": int(found.count - len(np.unique(roots))),
    }


def _root(parents: np.ndarray, member: int) -> int:
    while parents[member] != member:
        parents[member] = parents[parents[member]]
        member = parents[member]
    return int(member)
