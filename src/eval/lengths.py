"""How long answers are, by model: a model that rambles, or is cut off, shows here before any metric says so."""

from collections.abc import Mapping, Sequence
from typing import Any

from src.eval.answers import reference, words_of
from src.eval.cases import Case
from src.llm.client import Reply

REFERENCE = "reference"
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def lengths(cases: Sequence[Case], said: Mapping[str, Mapping[str, Reply]]) -> dict[str, dict[str, Any]]:
    """Words of the answers to turns whose reference is words, as quantiles, and the share cut at the token limit; the reference first."""
    asked = [case for case in cases if not case.calls and reference(case).strip()]
    if not asked or not said:
        return {}
    found = {REFERENCE: _spread([len(reference(case).split()) for case in asked])}
    for model, replies in said.items():
        counts = [len(words_of(replies[case.id].text).split()) for case in asked]
        cut = sum(replies[case.id].finish == "length" for case in asked) / len(asked)
        found[model] = {**_spread(counts), "cut": cut}
    return found


def _spread(counts: Sequence[int]) -> dict[str, Any]:
    ranked = sorted(counts)
    return {"rows": len(ranked), "words": [ranked[min(len(ranked) - 1, int(share * len(ranked)))] for share in QUANTILES]}
