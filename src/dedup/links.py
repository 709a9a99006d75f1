"""The second kind of task: pairs of documents that are equal, or near-duplicates by one band of their sketches."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from src.dedup.corpus import I64, Corpus
from src.dedup.shelf import Shelf
from src.dedup.spill import Spill, SpillError, write_spill
from src.text.buckets import CAP, flatten, repeated, unite, verify

EQUAL = "equal.links"


def load_links(shelf: Shelf, name: str) -> Spill:
    """Open the pairs that a task found."""
    return Spill.open(shelf.path(name))


def _is_done(shelf: Shelf, name: str) -> bool:
    if not shelf.has(name):
        return False
    try:
        load_links(shelf, name).check()
    except (SpillError, KeyError, ValueError):
        shelf.remove(name)
        return False
    return True


def link_equal(shelf: Shelf, corpus: Corpus) -> str:
    """Pair every document that equals an earlier one with the first such; note which ones the bands are to look at."""
    if _is_done(shelf, EQUAL):
        return EQUAL
    first, wanted = corpus.contents(), np.ones(corpus.total, bool)
    found = _candidates(first, wanted)
    second = corpus.wholes(found)[:, 1]
    order = np.lexsort((found, second, first[found]))
    found, a, b = found[order], first[found][order], second[order]
    same = np.zeros(len(found), bool)
    same[1:] = (a[1:] == a[:-1]) & (b[1:] == b[:-1])
    starts = np.maximum.accumulate(np.where(same, 0, np.arange(len(found))))
    others, ones = found[same], found[starts[same]]
    wanted = corpus.has_grams()
    wanted[others] = False
    arrays = {"ones": ones, "others": others, "wanted": wanted}
    shelf.save(EQUAL, lambda stream: write_spill(stream, {"compared": 0}, arrays))
    return EQUAL


def waves(bands: int) -> list[range]:
    """Bands to search at once: as many as were searched before, and one, so that most pairs are joined before most bands ask for them."""
    return [range(start, min(2 * start + 1, bands)) for start in (2**turn - 1 for turn in range(bands.bit_length()))]


def join(shelf: Shelf, corpus: Corpus, names: Sequence[str]) -> str:
    """Write down the groups that finished bands make, by which those that follow need not compare one group's members again."""
    name, parents = f"joined-{len(names)}.links", np.arange(corpus.total)
    for each in names:
        links = load_links(shelf, each)
        unite(parents, links.read("ones"), links.read("others"))
    flatten(parents)
    members = np.flatnonzero(parents != np.arange(corpus.total))
    arrays = {"members": members, "roots": parents[members]}
    shelf.save(name, lambda stream: write_spill(stream, {}, arrays))
    return name


def link_band(shelf: Shelf, corpus: Corpus, band: int, threshold: float, joined: str) -> str:
    """Pair documents that share the band's key, reach the threshold and are not of one group yet; each ends in at most one group of it."""
    name = f"band-{band}.links"
    if _is_done(shelf, name):
        return name
    keys = corpus.band(band)
    members = _candidates(keys, load_links(shelf, EQUAL).read("wanted"))
    before = load_links(shelf, joined)
    members, groups = _disputed(keys, members, _groups(members, before.read("members"), before.read("roots")))
    # in an order of content, so that the order of the rows decides nothing
    order = np.lexsort((corpus.wholes(members)[:, 0], keys[members]))
    members, groups = members[order], groups[order]
    head, arrays = _verified(corpus, members, keys[members], groups, threshold)
    shelf.save(name, lambda stream: write_spill(stream, head, arrays))
    return name


def _groups(members: I64, joined: I64, roots: I64) -> I64:
    """The group of each member: its root's number where it was joined (`joined` rises), else its own."""
    if not len(joined):
        return members.copy()
    places = np.minimum(np.searchsorted(joined, members), len(joined) - 1)
    return np.where(joined[places] == members, roots[places], members)


def _disputed(keys: NDArray[np.uint64], members: I64, groups: I64) -> tuple[I64, I64]:
    """The members of buckets that hold more than one group, bucket by bucket, and their groups."""
    order = np.argsort(keys[members], kind="stable")
    members, groups = members[order], groups[order]
    if not len(members):
        return members, groups
    starts = np.flatnonzero(np.diff(keys[members], prepend=~keys[members[:1]]))
    least, most = (ufunc.reduceat(groups, starts) for ufunc in (np.minimum, np.maximum))
    mixed = np.repeat(least != most, np.diff(starts, append=len(members)))
    return members[mixed], groups[mixed]


def _verified(
    corpus: Corpus, members: I64, keys: NDArray[np.uint64], groups: I64, threshold: float
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    ones, others, alike = np.empty(len(members), np.int64), np.empty(len(members), np.int64), np.empty(len(members), np.float64)
    grams = corpus.grams(members)
    _, firsts, places = np.unique(groups, return_index=True, return_inverse=True)
    parents = np.append(firsts[places], 0)
    joined = verify(keys, grams.addresses, grams.sizes, threshold, CAP, parents, ones, others, alike, *grams.scratch())
    arrays = {"ones": members[ones[:joined]], "others": members[others[:joined]], "alike": alike[:joined].copy()}
    return {"compared": int(parents[-1])}, arrays


def _candidates(keys: NDArray[np.uint64], wanted: NDArray[np.bool_]) -> I64:
    """The wanted documents whose key some other one may have."""
    words = 1 << max(4, (len(keys) // 4).bit_length())  # 16 bits a key and more
    once, twice = np.zeros(words, np.uint64), np.zeros(words, np.uint64)
    out = np.empty(len(keys), np.int64)
    return out[: repeated(keys, wanted, once, twice, out)].copy()
