"""Whether an answer is the reference's, word for word or in part."""

import re
import string
from collections import Counter
from typing import ClassVar, Literal

from src.core.config import Config
from src.eval.answers import Judged, in_words, measured, reference
from src.eval.cases import Case
from src.eval.measure import Evidence, Finding

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


class Exact(Config):
    """Answers that equal the reference, and the F1 of their words: `exact.match`, `exact.f1`.

    As SQuAD has it (Rajpurkar et al. 2016, `evaluate-v1.1.py`): case, punctuation, English articles and blanks do not count.
    """

    type: Literal["exact"] = "exact"
    tags: tuple[str, ...] = ()
    """Only rows with one of these tags; all plain answers where empty."""

    names: ClassVar[tuple[str, ...]] = ("exact.match", "exact.f1")
    reads: ClassVar[str] = "answers"

    def score(self, evidence: Evidence) -> Finding:
        """Share of equal answers, and mean F1."""
        asked = in_words(evidence, self.tags)
        if not asked:
            return Finding(missing=dict.fromkeys(self.names, "no held-out turn is an answer in words"))
        return Finding([measured(name, asked, evidence, judge) for name, judge in zip(self.names, (_match, _f1), strict=True)])


def plain(text: str) -> str:
    """A text without what does not count."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def token_f1(said: str, right: str) -> float:
    """Harmonic mean of the shares of words that both have."""
    got, wanted = plain(said).split(), plain(right).split()
    same = (Counter(got) & Counter(wanted)).total()
    return 2 * same / (len(got) + len(wanted)) if got and wanted else float(got == wanted)


def _match(case: Case, said: str) -> Judged:
    right = plain(said) == plain(reference(case))
    return float(right), 1.0, "" if right else "another answer"


def _f1(case: Case, said: str) -> Judged:
    found = token_f1(said, reference(case))
    return found, 1.0, "" if found == 1 else f"F1 {found:.2f}"
