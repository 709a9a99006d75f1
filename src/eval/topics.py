"""What a judge of voice knows once topics are taken from it: on pairs about the same things, and on words without matter."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer

from src.eval.delta import WORD

SHARE = 4
"""One in so many of the possible pairs is looked at: the ones nearest in topic."""
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def distorted(texts: Iterable[str], kept: Iterable[str]) -> list[str]:
    """The texts with every word but those kept made stars of its length: what they are about is gone, how they are built is not.

    Stamatatos 2017, "Authorship Attribution Using Text Distortion" (DV-MA).
    """
    known = set(kept)
    return [WORD.sub(lambda word: word[0] if word[0] in known else "*" * len(word[0]), text) for text in texts]


def likeness(texts: Sequence[str], others: Sequence[str], common: Iterable[str]) -> Floats:
    """How much each text is about what each of the others is about (texts × others): cosine of TF-IDF without the common words."""
    known = set(common)

    def words(text: str) -> list[str]:
        return [word for word in WORD.findall(text) if word not in known]

    if not any(map(words, texts)):
        return np.zeros((len(texts), len(others)))
    matter = TfidfVectorizer(analyzer=words, sublinear_tf=True).fit([*texts, *others])
    found: Floats = (matter.transform(texts) @ matter.transform(others).T).toarray()
    return found


def nearest_pairs(near: Floats, count: int) -> list[tuple[int, int]]:
    """The `count` nearest pairs, each row and each column in one at most, greedily from the nearest on."""
    rows, columns = np.unravel_index(np.argsort(-near, axis=None, kind="stable"), near.shape)
    taken_rows: set[int] = set()
    taken_columns: set[int] = set()
    pairs: list[tuple[int, int]] = []
    for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
        if row not in taken_rows and column not in taken_columns:
            taken_rows.add(row)
            taken_columns.add(column)
            pairs.append((row, column))
            if len(pairs) == count:
                break
    return pairs


def matched(texts: Sequence[str], truth: Bools, found: Bools, common: Iterable[str]) -> dict[str, Any]:
    """How often a verdict is right on the pairs, one text of each voice, that are nearest in topic.

    Returns:
        `pairs`, their mean `likeness` and that of `any` two texts of both voices, and `accuracy`.
    """
    persona, others = np.flatnonzero(truth), np.flatnonzero(~truth)
    near = likeness([texts[each] for each in persona], [texts[each] for each in others], common)
    pairs = nearest_pairs(near, max(1, min(near.shape) // SHARE))
    right = [bool(found[place]) == bool(truth[place]) for row, column in pairs for place in (persona[row], others[column])]
    return {
        "pairs": len(pairs),
        "likeness": float(np.mean([near[pair] for pair in pairs])),
        "any": float(near.mean()),
        "accuracy": float(np.mean(right)),
    }
