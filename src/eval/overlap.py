"""ROUGE: how much of a reference's words, pairs of words and their order an answer has (Lin 2004)."""

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise


def tokens(text: str) -> list[str]:
    """Words as the package rouge-score cuts them without its stemmer: runs of a-z and 0-9 in lower case."""
    return re.sub(r"[^a-z0-9]+", " ", text.lower()).split()


def rouge_n(reference: str, said: str, n: int) -> float:
    """F1 of the words (`n` 1) or pairs of words (`n` 2) that both have, each as often as both have it."""
    wanted, got = (Counter(pairwise(tokens(text)) if n == 2 else zip(tokens(text), strict=True)) for text in (reference, said))
    return _f1((wanted & got).total(), wanted.total(), got.total())


def rouge_l(reference: str, said: str) -> float:
    """F1 of the longest row of words that both have in the same order, others between them allowed."""
    wanted, got = tokens(reference), tokens(said)
    return _f1(_longest_common(wanted, got), len(wanted), len(got))


def _longest_common(one: Sequence[str], other: Sequence[str]) -> int:
    lengths = [0] * (len(other) + 1)
    for word in one:
        before = 0
        for place, each in enumerate(other, start=1):
            before, lengths[place] = lengths[place], before + 1 if word == each else max(lengths[place], lengths[place - 1])
    return lengths[-1]


def _f1(same: int, wanted: int, got: int) -> float:
    return 2 * same / (wanted + got) if same else 0.0
