"""Sketch texts as numbers that are alike where the texts are: shingle hashes, MinHash, band keys, Jaccard."""

from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from src.text.shingles import SIZE, words

U32 = NDArray[np.uint32]
U64 = NDArray[np.uint64]

PERMUTATIONS = 126
"""Divisible by 1, 2, 3, 6, 7, 9, 14, 18, 21, 42, 63, 126: rows a band to choose from."""
RECALL = 0.99
"""Chance at which a pair right at the threshold has to meet in some band."""
_BLOCK = 512
"""Shingles permuted at a time: 512 × 126 numbers fit into a core's cache, however long the text."""
_WORDS = 1 << 16
"""Words hashed at a time."""
_MIX = (0x9E3779B97F4A7C15, 0xD6E8FEB86659FD93)


def shingle_hashes(text: str, size: int = SIZE) -> U32:
    """Hash the shingles of a normalised text: each once, in rising order, the same in every version and on every machine."""
    found = words(text)
    if len(found) < size:
        whole = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=4).digest()
        return np.frombuffer(whole, "<u4").astype(np.uint32)
    each = np.concatenate([_word_hashes(found[start : start + _WORDS]) for start in range(0, len(found), _WORDS)])
    count = len(each) - size + 1
    runs = each[:count].copy()
    for place in range(1, size):
        runs *= np.uint64(_MIX[1])
        runs += each[place : place + count]
    return np.unique((_mixed(runs) >> np.uint64(32)).astype(np.uint32))


def signature(hashes: U32) -> U32:
    """The least of the hashes under each of 126 permutations: two texts agree in any place with the probability of their Jaccard.

    Affine maps `a × hash + b` modulo 2³² with odd `a` stand for permutations.
    Source: Broder 1997; Leskovec, Rajaraman and Ullman, "Mining of Massive Datasets", section 3.3.
    """
    least = np.full(PERMUTATIONS, 0xFFFFFFFF, np.uint32)
    for start in range(0, len(hashes), _BLOCK):
        permuted = hashes[start : start + _BLOCK, None] * _FACTORS + _OFFSETS
        np.minimum(least, permuted.min(axis=0), out=least)
    return least


def rows_for(threshold: float) -> int:
    """Rows a band: the most that still let a pair at the threshold meet in some band with a chance of 0.99; 6 for 0.8.

    Source: Leskovec et al., section 3.4.2: with b bands of r rows, 1 − (1 − Jʳ)ᵇ.
    """
    fitting = [r for r in range(1, PERMUTATIONS + 1) if PERMUTATIONS % r == 0 and 1 - (1 - threshold**r) ** (PERMUTATIONS // r) >= RECALL]
    return max(fitting, default=1)


def band_keys(signatures: U32, rows: int) -> U64:
    """One key for every `rows` places of the signatures: texts that share one in the same band are candidates.

    Args:
        signatures: Shape (…, 126).
        rows: Places in a band, as `rows_for` gives them.

    Returns:
        Keys of the shape (…, 126 / rows).
    """
    banded = signatures.reshape(*signatures.shape[:-1], signatures.shape[-1] // rows, rows)
    keys = np.zeros(banded.shape[:-1], np.uint64)
    for row in range(rows):
        keys = _mixed(keys ^ banded[..., row])
    return keys


def jaccard(one: U32, other: U32) -> float:
    """Shared shingles over all shingles of two texts, from their `shingle_hashes`: exact but for collisions of 32 bits."""
    if len(one) > len(other):
        one, other = other, one
    if not len(one):
        return float(not len(other))
    places = np.searchsorted(other, one)
    shared = int(np.count_nonzero(other[np.minimum(places, len(other) - 1)] == one))
    return shared / (len(one) + len(other) - shared)


def _word_hashes(found: list[str]) -> U64:
    """Hash each word: the sum over its letters of a mix of letter and place."""
    points = np.frombuffer(("\0".join(found) + "\0").encode("utf-32-le", "surrogatepass"), "<u4").astype(np.uint64)
    ends = np.flatnonzero(points == 0)
    starts = np.concatenate(([0], ends[:-1] + 1))
    places = np.arange(len(points)) - np.repeat(starts, ends - starts + 1)
    letters = _mixed(points << np.uint64(32) | places.astype(np.uint64))
    letters[ends] = 0
    sums: U64 = np.add.reduceat(letters, starts)
    return sums


def _mixed(values: U64) -> U64:
    """Let every bit of each number move every other: multiply and fold, modulo 2⁶⁴."""
    mixed = (values ^ values >> np.uint64(32)) * np.uint64(_MIX[0])
    mixed = (mixed ^ mixed >> np.uint64(29)) * np.uint64(_MIX[1])
    folded: U64 = mixed ^ mixed >> np.uint64(32)
    return folded


def _constants(label: str) -> U32:
    """Fixed numbers, which no version of a random generator can change."""
    drawn = b"".join(blake2b(f"{label} {block}".encode()).digest() for block in range(8))
    return np.frombuffer(drawn, "<u4").astype(np.uint32)


FACTORS = _constants("factor") | np.uint32(1)
OFFSETS = _constants("offset")
"""Of the maps: 128, so that they can be taken four at a time; the last two are not used."""
_FACTORS = FACTORS[:PERMUTATIONS]
_OFFSETS = OFFSETS[:PERMUTATIONS]
