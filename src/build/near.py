"""Documents that hold near-duplicates of each other, joined, so that no row has its like in another split."""

from collections.abc import Sequence

from src.build.candidate import Candidate
from src.text.clusters import clusters
from src.text.minhash import shingle_hashes
from src.text.normalise import normalise


def join(rows: Sequence[Candidate], threshold: float) -> dict[str, int]:
    """Give rows whose documents hold near-duplicates one key: the least of those joined.

    Compared is what user and assistant say, in word 5-grams; two rows are joined where their exact Jaccard reaches
    `threshold`, and with them all that shares a document with either. Rows whose source has split them are left alone.

    Returns:
        `rows` compared, `alike` of them with a like, `documents` before and `groups` after joining.
    """
    free = [row for row in rows if not row.decided]
    texts = [normalise("\n".join(row.said)) for row in free]
    order = sorted(range(len(free)), key=lambda place: (texts[place], free[place].example["id"]))
    found = clusters([shingle_hashes(texts[place]) for place in order], threshold=threshold)
    leaders: dict[str, str] = {}
    for number, place in enumerate(order):
        _join(leaders, free[place].key, free[order[found.root(number)]].key)
    documents = {row.key for row in free}
    for row in free:
        row.key = _leader(leaders, row.key)
    return {"rows": len(free), "alike": len(found.links), "documents": len(documents), "groups": len({row.key for row in free})}


def _leader(leaders: dict[str, str], key: str) -> str:
    while (above := leaders.get(key, key)) != key:
        leaders[key] = leaders.get(above, above)
        key = above
    return key


def _join(leaders: dict[str, str], one: str, other: str) -> None:
    low, high = sorted((_leader(leaders, one), _leader(leaders, other)))
    if low != high:
        leaders[high] = low
