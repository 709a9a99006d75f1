"""What each Unicode character counts as when texts are compared: the tables that the kernels look into."""

import unicodedata
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

GAP, LETTER, ALONE, SIGN, SEVERAL, UNSEEN = range(6)
"""Kinds: white space; part of a word; a word by itself; a mark between words; stands for several characters; nothing."""
PLANES = 0x20000
"""Characters beyond: Han up to 0x3FFFF, each a word; signs after them."""

_QUOTES = dict.fromkeys("‘’‚‛′`´ʼ‹›", "'") | dict.fromkeys("“”„‟″«»", '"')
_ONE_KIND = _QUOTES | dict.fromkeys("‐‑‒–—―−⸺⸻", "-")
_UNSEEN = "\u00ad\u200b\u200c\u200d\u2060\ufeff"
# scripts that put no blanks between words: Thai and Lao, radicals, kana, Han
_ALONE = ((0x0E00, 0x0F00), (0x2E80, 0x2FE0), (0x3005, 0x3008), (0x3040, 0x3100), (0x31F0, 0x3200), (0x3400, 0x4DC0), (0x4E00, 0xA000))
_SAME = ((0x3400, 0x4DC0), (0x4E00, 0xA000), (0xAC00, 0xD7A4))  # Han and Hangul, which fold to themselves
_PRIVATE = ((0xD800, 0xF900),)  # surrogates and private use


@dataclass(frozen=True)
class Folding:
    """One entry for each character of the first two planes."""

    kind: NDArray[np.uint8]
    to: NDArray[np.uint32]
    """What it folds to; for SEVERAL where in `several` its characters stand."""
    several: NDArray[np.uint32]
    """Runs of characters, the length of each before it."""


@cache
def folding() -> Folding:
    """Fold case, width, compatibility forms and accents' composition, quotes, dashes: NFKD of the casefolded NFKD, by character.

    Taken apart, a composed character equals the decomposed one without a look at its neighbours; Hangul stays as it is.
    """
    kind = np.full(PLANES, SIGN, np.uint8)
    to = np.arange(PLANES, dtype=np.uint32)
    several: list[int] = []
    for start, end in _SAME:
        kind[start:end] = LETTER if start == 0xAC00 else ALONE
    passed = sorted((*_SAME, *_PRIVATE))
    starts, ends = [0, *(end for _, end in passed)], [*(start for start, _ in passed), PLANES]
    for start, end in zip(starts, ends, strict=True):
        for point in range(start, end):
            _enter(point, kind, to, several)
    tables = Folding(kind, to, np.array(several, np.uint32))
    for table in (tables.kind, tables.to, tables.several):
        table.flags.writeable = False
    return tables


def _enter(point: int, kind: NDArray[np.uint8], to: NDArray[np.uint32], several: list[int]) -> None:
    character = chr(point)
    folded = fold(character)
    if folded == character or len(folded) == 1:
        kind[point], to[point] = kind_of(folded), ord(folded)
    elif not folded:
        kind[point] = UNSEEN
    else:
        kind[point], to[point] = SEVERAL, len(several)
        several += [len(folded), *map(ord, folded)]


def fold(character: str) -> str:
    """What a character is compared as: any number of characters, that each fold to themselves."""
    if character in _UNSEEN:
        return ""
    folded = _ONE_KIND.get(character) or unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", character).casefold())
    return "".join(_ONE_KIND.get(each, each) for each in folded if each not in _UNSEEN)


def kind_of(character: str) -> int:
    """GAP, LETTER, ALONE or SIGN, for a character that folds to itself."""
    point = ord(character)
    category = unicodedata.category(character)
    if category[0] not in "LNM" and not character.isalnum():
        return GAP if character.isspace() or category == "Cc" else SIGN
    if 0x20000 <= point < 0x40000 or any(start <= point < end for start, end in _ALONE):
        return ALONE
    return LETTER


def version() -> str:
    """Names the Unicode tables: sketches made with others cannot be compared."""
    return unicodedata.unidata_version
