"""How much a model is surprised by what the assistant really said."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar, Literal

from src.core.config import Config
from src.eval.measure import Evidence, Finding, Measure, Row


class Perplexity(Config):
    """Perplexity over the assistant's tokens, by teacher forcing: per token, and per byte for other tokenizers to compare with.

    E to the mean negative log-likelihood (Jelinek et al. 1977, "Perplexity: a measure of the difficulty of speech recognition
    tasks"); by byte as in Gao et al. 2020, "The Pile". Of each document that more than one row is from, too.
    """

    type: Literal["perplexity"] = "perplexity"

    names: ClassVar[tuple[str, ...]] = ("perplexity", "perplexity.byte")
    reads: ClassVar[str] = "likelihoods"

    def score(self, evidence: Evidence) -> Finding:
        """E to the mean negative log-likelihood of a token, and of a byte."""
        tokens = {model: [replace(row, why=_why(row.value, row.weight)) for row in rows] for model, rows in evidence.likelihoods.items()}
        in_bytes = {
            model: [replace(row, weight=float(evidence.bytes_of[row.id])) for row in rows if evidence.bytes_of[row.id]]
            for model, rows in evidence.likelihoods.items()
        }
        if not any(tokens.values()):
            return Finding(missing=dict.fromkeys(self.names, "no held-out row has an assistant's token"))
        both = zip(self.names, (tokens, in_bytes), strict=True)
        measures = [Measure(name, rows, lower_is_better=True, exponential=True) for name, rows in both]
        return Finding(measures, detail={"perplexity": {"sources": _by_source(evidence.likelihoods)}})


def _by_source(likelihoods: Mapping[str, list[Row]]) -> dict[str, dict[str, float]]:
    """Perplexity of each document that more than one row was made from, by model."""
    found: dict[str, dict[str, float]] = {}
    for model, rows in likelihoods.items():
        for source in sorted({row.group for row in rows}):
            its = [row for row in rows if row.group == source]
            if len(its) > 1:
                mean = sum(row.value for row in its) / sum(row.weight for row in its)
                found.setdefault(source, {"rows": len(its)})[model] = math.exp(min(mean, 700.0))
    return found


def _why(nats: float, tokens: float) -> str:
    return f"perplexity {math.exp(min(nats / tokens, 700.0)):.4g} over {tokens:.0f} tokens"
