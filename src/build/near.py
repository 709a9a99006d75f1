"""Rows that are near-duplicates of each other, and documents that hold many: they share a split, so that none has its like in another."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from src.build.candidate import Candidate
from src.text.clusters import clusters
from src.text.minhash import shingle_hashes
from src.text.normalise import normalise

TIED = 0.1
"""Share of a document's rows with their like in another one from which the two are one: a second edition is, a common quotation is not."""


def join(rows: Sequence[Candidate], threshold: float) -> dict[str, int]:
    """Give rows that are alike one number, and documents that are alike in a tenth of their rows one key.

    Compared is what user and assistant say, in word 5-grams; two rows are alike where their exact Jaccard reaches
    `threshold`. Where two documents have less in common each keeps its key, and `parted` drops what would be in two splits.
    Rows whose source has split them are left alone.

    Returns:
        `rows` compared, `alike` of them with a like, `documents` before and `groups` after joining.
    """
    free = [row for row in rows if not row.decided]
    sizes = Counter(row.key for row in free)
    shared = _shared(_alike(free, threshold))
    leaders: dict[str, str] = {}
    for (one, other), count in sorted(shared.items()):
        if count >= TIED * min(sizes[one], sizes[other]):
            low, high = sorted((_leader(leaders, one), _leader(leaders, other)))
            if low != high:
                leaders[high] = low
    for row in free:
        row.key = _leader(leaders, row.key)
    alike = sum(row.alike is not None for row in free)
    return {"rows": len(free), "alike": alike, "documents": len(sizes), "groups": len({row.key for row in free})}


def _alike(rows: Sequence[Candidate], threshold: float) -> Iterable[list[Candidate]]:
    """Number the rows that are alike, and return them group by group."""
    texts = [normalise("\n".join(row.said)) for row in rows]
    order = sorted(range(len(rows)), key=lambda place: (texts[place], rows[place].example["id"]))
    hashes = [shingle_hashes(texts[place]) for place in order]
    texts.clear()  # of millions of rows half a gigabyte
    found = clusters(hashes, threshold=threshold)
    groups: dict[int, list[Candidate]] = defaultdict(list)
    for number in found.links:
        row = rows[order[number]]
        row.alike = found.root(number)
        groups[row.alike].append(row)
    return groups.values()


def _shared(groups: Iterable[list[Candidate]]) -> Counter[tuple[str, str]]:
    """Count for pairs of documents the rows that they have in common; in a group all are paired with its first."""
    shared: Counter[tuple[str, str]] = Counter()
    for group in groups:
        counts = Counter(row.key for row in group)
        first = min(counts)
        for key in counts:
            if key != first:
                shared[first, key] += min(counts[first], counts[key])
    return shared


def _leader(leaders: dict[str, str], key: str) -> str:
    while (above := leaders.get(key, key)) != key:
        leaders[key] = leaders.get(above, above)
        key = above
    return key
