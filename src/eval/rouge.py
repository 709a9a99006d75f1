"""How much of the reference's wording an answer has."""

from functools import partial
from typing import ClassVar, Literal

from src.core.config import Config
from src.eval.answers import Judged, in_words, measured, reference
from src.eval.cases import Case
from src.eval.measure import Evidence, Finding
from src.eval.overlap import rouge_l, rouge_n


class Rouge(Config):
    """ROUGE-1, -2 and -L as F1 (Lin 2004), equal to the package rouge-score without stemmer; words of a-z and 0-9 alone count."""

    type: Literal["rouge"] = "rouge"
    tags: tuple[str, ...] = ()
    """Only rows with one of these tags; all plain answers where empty."""

    names: ClassVar[tuple[str, ...]] = ("rouge.1", "rouge.2", "rouge.l")
    reads: ClassVar[str] = "answers"

    def score(self, evidence: Evidence) -> Finding:
        """Mean of the answers' F1."""
        asked = in_words(evidence, self.tags)
        if not asked:
            return Finding(missing=dict.fromkeys(self.names, "no held-out turn is an answer in words"))
        return Finding([measured(name, asked, evidence, partial(_judged, name)) for name in self.names])


def _judged(name: str, case: Case, said: str) -> Judged:
    right = reference(case)
    found = rouge_l(right, said) if name == "rouge.l" else rouge_n(right, said, int(name[-1]))
    return found, 1.0, "" if found == 1 else f"{found:.2f}"
