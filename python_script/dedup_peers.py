"""Runs one peer of bench_dedup.py on a JSON Lines file, in an environment that has it: dedup_peers.py NAME IN OUT.

Writes the kept lines to OUT/kept.jsonl and the number of each document's group to OUT/clusters.json.
"""

import json
import sys
from collections.abc import Iterable
from pathlib import Path

BANDS, ROWS, SIZE, THRESHOLD = 16, 8, 5, 0.8


def texts(path: Path) -> Iterable[list[str]]:
    """The runs of words of each document."""
    with path.open() as stream:
        for line in stream:
            words = json.loads(line)["text"].split()
            yield [" ".join(words[at : at + SIZE]) for at in range(max(1, len(words) - SIZE + 1))]


class Groups:
    """Union to the lowest number."""

    def __init__(self) -> None:
        self.parents: list[int] = []

    def root(self, member: int) -> int:
        """The lowest number of a group."""
        while self.parents[member] != member:
            self.parents[member] = self.parents[self.parents[member]]
            member = self.parents[member]
        return member

    def join(self, one: int, other: int) -> None:
        """Make one group of two."""
        a, b = self.root(one), self.root(other)
        self.parents[max(a, b)] = min(a, b)


def datasketch(path: Path) -> Groups:
    """MinHash with sha1, 16 bands of 8 rows, every candidate joined, as its documentation has it."""
    from datasketch import MinHash, MinHashLSH

    index = MinHashLSH(num_perm=BANDS * ROWS, params=(BANDS, ROWS))
    groups = Groups()
    for number, runs in enumerate(texts(path)):
        sketch = MinHash(num_perm=BANDS * ROWS)
        sketch.update_batch([run.encode() for run in runs])
        groups.parents.append(number)
        for other in index.query(sketch):
            groups.join(number, other)
        index.insert(number, sketch, check_duplication=False)
    return groups


def rensa(path: Path) -> Groups:
    """The way of its README: RMinHash, LSH, then the estimated Jaccard."""
    from rensa import RMinHash, RMinHashLSH

    index = RMinHashLSH(threshold=THRESHOLD, num_perm=BANDS * ROWS, num_bands=BANDS)
    groups, kept = Groups(), {}
    for number, runs in enumerate(texts(path)):
        sketch = RMinHash(num_perm=BANDS * ROWS, seed=42)
        sketch.update(runs)
        groups.parents.append(number)
        for other in index.query(sketch):
            if kept[other].jaccard(sketch) >= THRESHOLD:
                groups.join(number, other)
        index.insert(number, sketch)
        kept[number] = sketch
    return groups


def gaoya(path: Path) -> Groups:
    """Its string index with its own tokenizer, a batch at a time."""
    from gaoya.minhash import MinHashStringIndex

    index = MinHashStringIndex(
        hash_size=32,
        jaccard_threshold=THRESHOLD,
        num_bands=BANDS,
        band_size=ROWS,
        analyzer="word",
        lowercase=True,
        ngram_range=(SIZE, SIZE),
    )
    groups = Groups()
    with path.open() as stream:
        documents = [json.loads(line)["text"] for line in stream]
    groups.parents = list(range(len(documents)))
    index.par_bulk_insert_docs(list(range(len(documents))), documents)
    for number, found in enumerate(index.par_bulk_query(documents)):
        for other in found:
            groups.join(number, other)
    return groups


def main() -> None:
    """Run one peer."""
    name, path, out = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    groups = {"datasketch": datasketch, "rensa": rensa, "gaoya": gaoya}[name](path)
    out.mkdir(parents=True, exist_ok=True)
    roots = [groups.root(number) for number in range(len(groups.parents))]
    with path.open() as stream, (out / "kept.jsonl").open("w") as kept:
        kept.writelines(line for number, line in enumerate(stream) if roots[number] == number)
    (out / "clusters.json").write_text(json.dumps(roots))


if __name__ == "__main__":
    main()
