"""Whether answers are as long as they should be."""

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from src.core.config import Config
from src.eval.answers import Judged, in_words, measured, reference, words_of
from src.eval.cases import Case
from src.eval.measure import Evidence, Finding


class Length(Config):
    """Share of answers within bounds, and how far their length is from the reference's, as a share of it: `length.within`, `length.gap`.

    Read it beside a judge's figures: judges prefer long answers (Dubois et al. 2024, "Length-Controlled AlpacaEval").
    """

    type: Literal["length"] = "length"
    min_words: int = Field(1, ge=0)
    """Words that an answer needs."""
    max_words: int | None = Field(None, ge=1)
    """Words that an answer may have."""
    tags: tuple[str, ...] = ()
    """Only rows with one of these tags; all plain answers where empty."""

    names: ClassVar[tuple[str, ...]] = ("length.within", "length.gap")
    reads: ClassVar[str] = "answers"

    @model_validator(mode="after")
    def bounds_are_in_order(self) -> Self:
        """Fail on bounds that nothing is within."""
        if self.max_words is not None and self.min_words > self.max_words:
            raise ValueError(f"min_words {self.min_words} is above max_words {self.max_words}")
        return self

    def score(self, evidence: Evidence) -> Finding:
        """Count words, which blanks part."""
        asked = in_words(evidence, self.tags)
        if not asked:
            return Finding(missing=dict.fromkeys(self.names, "no held-out turn is an answer in words"))
        measures = [measured("length.within", asked, evidence, self._within), measured("length.gap", asked, evidence, _gap, lower=True)]
        mean = {
            model: sum(len(words_of(texts[case.id]).split()) for case in asked) / len(asked) for model, texts in evidence.answers.items()
        }
        return Finding(
            measures,
            detail={"length": {"mean_words": mean | {"reference": sum(len(reference(case).split()) for case in asked) / len(asked)}}},
        )

    def _within(self, case: Case, said: str) -> Judged:
        count = len(said.split())
        fits = self.min_words <= count and (self.max_words is None or count <= self.max_words)
        return float(fits), 1.0, "" if fits else f"{count} words"


def _gap(case: Case, said: str) -> Judged:
    wanted, got = len(reference(case).split()), len(said.split())
    return abs(got - wanted) / wanted, 1.0, f"{got} words where the reference has {wanted}" if got != wanted else ""
