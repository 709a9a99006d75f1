"""From pairs to fates: which documents are one group, which of each stays, and why each other one goes."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from src.dedup.corpus import I64, Corpus
from src.dedup.links import EQUAL, load_links
from src.dedup.shelf import Shelf
from src.dedup.spill import write_spill
from src.text.buckets import closest, flatten, likenesses, unite

FATES = "fates.spill"
_CHUNK = 100_000  # documents of groups looked at together
EXACT, NEAR, SEMANTIC = range(3)
REASONS = ("exact_duplicate", "near_duplicate", "semantic_duplicate")


@dataclass(frozen=True)
class Groups:
    """What the pairs make of all documents."""

    parents: I64
    """The lowest number of each one's group."""
    partners: I64
    """Of each that was paired the one most like it."""
    best: NDArray[np.float64]
    compared: int


def group(shelf: Shelf, corpus: Corpus, bands: Iterable[str]) -> Groups:
    """Join pairs to groups, a band at a time: memory is that of four numbers a document."""
    parents, partners = np.arange(corpus.total), np.arange(corpus.total)
    best, contents = np.zeros(corpus.total), corpus.contents()
    equal = load_links(shelf, EQUAL)
    unite(parents, equal.read("ones"), equal.read("others"))
    compared = 0
    for name in bands:
        links = load_links(shelf, name)
        ones, others = links.read("ones"), links.read("others")
        unite(parents, ones, others)
        closest(ones, others, links.read("alike"), contents, partners, best)
        compared += links.head["compared"]
    # only one of equals was compared: what it found is true of all
    ones, others = equal.read("ones"), equal.read("others")
    partners[others], best[others] = partners[ones], best[ones]
    flatten(parents)
    return Groups(parents, partners, best, compared)


@dataclass(frozen=True)
class Choice:
    """How the one that stays is chosen."""

    keep: str
    """`longest`, `first` or `score`."""
    drops_equal: bool
    """Whether equals of the one that stays go."""


def decide(shelf: Shelf, corpus: Corpus, groups: Groups, choice: Choice) -> dict[str, int]:
    """Write down the fate of every document that goes, in their order; return how many groups there are and the largest."""
    chunks, sizes = [], [0]
    for members in _chunks(groups.parents):
        sizes += np.unique(groups.parents[members], return_counts=True)[1].tolist()
        chunks.append(_decided(corpus, groups, members, choice))
    found = {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]} if chunks else _nothing()
    order = np.argsort(found["number"], kind="stable")
    save_fates(shelf, {name: array[order] for name, array in found.items()})
    return {"clusters": len(sizes) - 1, "largest_cluster": max(sizes), "pairs_compared": groups.compared}


def save_fates(shelf: Shelf, fates: dict[str, NDArray[Any]]) -> None:
    """Put the fates on the shelf, in place of others."""
    shelf.save(FATES, lambda stream: write_spill(stream, {}, fates))


def _nothing() -> dict[str, NDArray[Any]]:
    kinds = {"alike": np.float64, "through_alike": np.float64, "cluster": np.uint64, "reason": np.int64}
    return {
        name: np.zeros(0, kinds.get(name, np.int64))
        for name in ("number", "survivor", "through", "reason", "cluster", "alike", "through_alike")
    }


def _chunks(parents: I64) -> Iterator[I64]:
    """Yield the members of groups of two and more, whole groups together, some at a time."""
    gone = np.flatnonzero(parents != np.arange(len(parents)))
    members = np.concatenate([np.unique(parents[gone]), gone])
    members = members[np.lexsort((members, parents[members]))]
    heads = np.flatnonzero(np.diff(parents[members], prepend=-1))
    start = 0
    while start < len(members):
        cut = np.searchsorted(heads, start + _CHUNK)
        end = int(heads[cut]) if cut < len(heads) else len(members)
        yield members[start:end]
        start = end


def _decided(corpus: Corpus, groups: Groups, members: I64, choice: Choice) -> dict[str, NDArray[Any]]:
    roots, wholes, names = groups.parents[members], corpus.wholes(members), corpus.names(members)
    alphabetical = np.empty(len(members), np.int64)
    alphabetical[sorted(range(len(members)), key=lambda place: (names[place], members[place]))] = np.arange(len(members))
    starts = np.flatnonzero(np.diff(roots, prepend=-1))
    sizes = np.diff(starts, append=len(members))
    order = np.lexsort((*_ranks(corpus, members, alphabetical, choice.keep), members >= corpus.old, roots))
    survivors = np.repeat(order[starts], sizes)
    clusters = np.repeat(np.minimum.reduceat(wholes[:, 0], starts), sizes)
    equal = (wholes == wholes[survivors]).all(axis=1)
    goes = (np.arange(len(members)) != survivors) & (members >= corpus.old) & (choice.drops_equal | ~equal)
    places = np.flatnonzero(goes)
    return {
        "number": members[places],
        "survivor": members[survivors[places]],
        "reason": np.where(equal[places], EXACT, NEAR),
        "cluster": clusters[places],
        "alike": _alike(corpus, members, places, survivors[places], equal[places]),
        "through": _named(members, wholes, alphabetical, groups.partners[members])[places],
        "through_alike": groups.best[members[places]],
    }


def _ranks(corpus: Corpus, members: I64, alphabetical: I64, keep: str) -> tuple[NDArray[Any], ...]:
    """What decides who stays, the weightiest last."""
    if keep == "first":
        return (members,)
    longest = (alphabetical, -corpus.pick("sizes", members, np.int64))
    return (*longest, -corpus.pick("scores", members, np.float64)) if keep == "score" else longest


def _alike(corpus: Corpus, members: I64, places: I64, survivors: I64, equal: NDArray[np.bool_]) -> NDArray[np.float64]:
    """How like each is to the one that stays for it."""
    found = np.ones(len(places))
    near = np.flatnonzero(~equal)
    if len(near):
        grams = corpus.grams(members)
        out = np.empty(len(near))
        likenesses(places[near], survivors[near], grams.addresses, grams.sizes, out, *grams.scratch())
        found[near] = out
    return found


def _named(members: I64, wholes: NDArray[np.uint64], alphabetical: I64, partners: I64) -> I64:
    """For each partner its equal of the lowest id: what was compared is a content, not a row."""
    order = np.lexsort((alphabetical, wholes[:, 1], wholes[:, 0]))
    changes = np.ones(len(order), bool)
    changes[1:] = (wholes[order[1:]] != wholes[order[:-1]]).any(axis=1)
    firsts = np.empty(len(order), np.int64)
    firsts[order] = order[np.maximum.accumulate(np.where(changes, np.arange(len(order)), 0))]
    by_number = np.argsort(members, kind="stable")
    where = by_number[np.searchsorted(members, partners, sorter=by_number)]
    return members[firsts[where]]
