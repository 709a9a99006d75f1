"""Corpora for bench_dedup.py: generated ones whose near-duplicates are planted, and real text of this machine."""

import json
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np

WORDS = 200_000
REAL = ("/usr/share/doc", "/usr/share/man", "/usr/share/common-licenses", "/usr/lib/python3")


def generated(path: Path, count: int, seed: int) -> None:
    """Write `count` documents of Zipf-distributed words: 20 % in clusters of near-duplicates, 5 % exact duplicates, one hot cluster."""
    rng = np.random.default_rng(seed)
    words = _vocabulary(rng)
    weights = np.cumsum(1 / np.arange(1, WORDS + 1) ** 1.07)
    draw = _Draw(rng, weights / weights[-1])
    with path.open("w") as stream:
        for number, document in enumerate(_shuffled(rng, count, draw)):
            stream.write(json.dumps({"id": number, "text": " ".join(words[word] for word in document)}) + "\n")


def shifted(source: Path, path: Path, copies: int) -> None:
    """Write a generated corpus `copies` times, each with the alphabet of its texts shifted by one more: as many clusters again."""
    letters = b"abcdefghijklmnopqrstuvwxyz"
    with path.open("wb") as out:
        for shift in range(copies):
            table = bytes.maketrans(letters, letters[shift:] + letters[:shift])
            with source.open("rb") as stream:
                for line in stream:
                    head, key, text = line.partition(b'"text": "')
                    out.write(head + key + text.translate(table))


class _Draw:
    """Draws words, phrases and boilerplate."""

    def __init__(self, rng: np.random.Generator, weights: np.ndarray) -> None:
        self.rng, self.weights = rng, weights
        self.phrases = [self.words(int(rng.integers(5, 12))) for _ in range(2000)]
        self.boilerplate = [self.words(int(rng.integers(30, 100))) for _ in range(20)]

    def words(self, count: int) -> np.ndarray:
        return np.searchsorted(self.weights, self.rng.random(count))

    def document(self) -> np.ndarray:
        rng = self.rng
        if rng.random() < 0.01:
            return self.words(int(rng.integers(1, 5)))
        count = int(np.clip(rng.lognormal(np.log(220), 0.8), 8, 8000))
        pieces = [self.words(count)]
        for _ in range(int(count * 0.025 / 8 + rng.random())):
            pieces.insert(int(rng.integers(0, len(pieces) + 1)), self.phrases[int(rng.integers(2000))])
        if rng.random() < 0.05:
            pieces.append(self.boilerplate[int(rng.integers(20))])
        return np.concatenate(pieces)

    def like(self, first: np.ndarray) -> np.ndarray:
        """A near-duplicate: the Jaccard of 5-grams aimed at is uniform in 0.5 to 1."""
        rng, likeness = self.rng, self.rng.uniform(0.5, 1)
        grams = max(len(first) - 4, 1)
        kind = int(rng.integers(5))
        if kind == 0 or kind == 4:
            half = 0.5 if kind == 4 else 1
            found = first.copy()
            places = rng.choice(
                len(first), min(len(first), int(half * grams * (1 - likeness) / (5 * (1 + likeness)) + rng.random())), replace=False
            )
            found[places] = self.words(len(places))
            return found[: int(len(found) * (1 - (1 - likeness) / 2))] if kind == 4 else found
        if kind == 1:
            return first[: max(5, int(grams * likeness) + 4)]
        if kind == 2:
            return np.concatenate([first, self.words(int(grams * (1 / likeness - 1)))])
        width = min(len(first), int(grams * (1 - likeness) / (1 + likeness)))
        start = int(rng.integers(0, len(first) - width + 1))
        return np.concatenate([first[:start], self.words(width), first[start + width :]])


def _vocabulary(rng: np.random.Generator) -> list[str]:
    letters = np.frombuffer(b"abcdefghijklmnopqrstuvwxyz", np.uint8)
    found: dict[str, None] = {}
    while len(found) < WORDS:
        sizes = np.clip(rng.normal(6.5, 2.3, WORDS).astype(int), 2, 14)
        data = letters[rng.integers(0, 26, int(sizes.sum()))].tobytes().decode()
        ends = np.cumsum(sizes)
        found.update(dict.fromkeys(data[end - size : end] for end, size in zip(ends, sizes, strict=True)))
    return list(found)[:WORDS]


def _shuffled(rng: np.random.Generator, count: int, draw: _Draw) -> Iterator[np.ndarray]:
    """Documents in random order, in blocks, so that a million need no more memory than a hundred thousand."""
    block = 100_000
    for start in range(0, count, block):
        documents = list(_block(rng, min(block, count - start), draw))
        yield from (documents[place] for place in rng.permutation(len(documents)))


def _block(rng: np.random.Generator, count: int, draw: _Draw) -> Iterator[np.ndarray]:
    made = 0
    hot = draw.words(200)
    for _ in range(count // 200):
        yield draw.like(hot) if rng.random() < 0.5 else hot
        made += 1
    while made < count:
        first = draw.document()
        members = 1
        yield first
        if rng.random() < 0.09 and len(first) > 8:
            last = first
            for _ in range(min(int(rng.geometric(0.45)), count - made - 1)):
                last = draw.like(last if rng.random() < 0.2 else first)
                members += 1
                yield last
        elif rng.random() < 0.06 and made + 1 < count:
            members += 1
            yield first
        made += members


def real(path: Path, count: int, folders: tuple[str, ...], seed: int) -> int:
    """Write passages of whatever text lies in some folders; return how many there are."""
    rng = random.Random(seed)
    texts: list[str] = []
    files = sorted(each for folder in folders for each in Path(folder).rglob("*") if each.is_file() and not each.is_symlink())
    rng.shuffle(files)
    for file in files:
        if len(texts) >= count:
            break
        texts += _passages(file, rng)
    texts = texts[:count]
    rng.shuffle(texts)
    with path.open("w") as stream:
        for number, text in enumerate(texts):
            stream.write(json.dumps({"id": number, "text": text}, ensure_ascii=False) + "\n")
    return len(texts)


def _passages(file: Path, rng: random.Random) -> list[str]:
    import gzip

    try:
        data = file.read_bytes()[: 1 << 21]
        if file.suffix == ".gz":
            data = gzip.decompress(data)
        text = data.decode()
    except (OSError, EOFError, UnicodeDecodeError, ValueError):
        return []
    if "\0" in text or len(text) < 100:
        return []
    size = rng.randint(1500, 8000)
    return [text[start : start + size] for start in range(0, len(text), size)][:40]
