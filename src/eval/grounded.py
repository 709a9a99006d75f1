"""Whether an answer stands on the tool results before it."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from src.core.config import Config
from src.eval.answers import Judged, in_words, measured, reference, words_of
from src.eval.cases import Case
from src.eval.measure import Evidence, Finding
from src.text import claims

_SHOWN = 50  # contradictions listed
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")
_KEY_WORD = re.compile(r"[A-Z]?[a-z]{3,}")


@dataclass
class Known:
    """What the results and the user said."""

    text: str = ""
    values: set[float] = field(default_factory=set)
    units: set[str] = field(default_factory=set)
    leaves: list[tuple[str, float]] = field(default_factory=list)
    """Numbers of JSON results, each with its key."""


class Grounded(Config):
    """Answers after a tool result state nothing else: their numbers, units, names and quotes are in a result or were said by the user.

    `grounded.answers` is the share of answers without a claim that is nowhere to be found, `grounded.claims` the mean share of
    an answer's claims found, and `grounded.coverage` the share of the reference's claims that the answer makes too: to say nothing
    is grounded, and covers nothing. Rules and no model: a figure worked out from results, other than the length of a list,
    counts as found nowhere. A number where a result has another under a key of the same words is listed as a contradiction.
    Shares of claims as in Min et al. 2023, "FActScore", whose claims a model takes apart and looks up.
    """

    type: Literal["grounded"] = "grounded"
    rounded: bool = True
    """Let 21 stand for the 21.4 of a result."""
    tags: tuple[str, ...] = ()
    """Only rows with one of these tags; all answers after a result where empty."""

    names: ClassVar[tuple[str, ...]] = ("grounded.answers", "grounded.claims", "grounded.coverage")
    reads: ClassVar[str] = "answers"

    def score(self, evidence: Evidence) -> Finding:
        """Look each claim up in the results."""
        asked = [case for case in in_words(evidence, self.tags) if any(message["role"] == "tool" for message in case.history)]
        if not asked:
            return Finding(missing=dict.fromkeys(self.names, "no held-out turn is an answer after a tool's result"))
        known = {case.id: _known(case.history) for case in asked}

        def answers(case: Case, said: str) -> Judged:
            missing, _ = self.looked_up(said, known[case.id])
            why = "; ".join([*contradictions(missing, said, known[case.id]), *(f"{each} is in no result" for each in missing)])
            return float(not missing), 1.0, why

        def stated(case: Case, said: str) -> Judged:
            missing, count = self.looked_up(said, known[case.id])
            return 1 - len(missing) / max(1, count), 1.0, f"{len(missing)} of {count} claims are in no result" if missing else ""

        finding = Finding([measured("grounded.answers", asked, evidence, answers), measured("grounded.claims", asked, evidence, stated)])
        if claiming := [case for case in asked if _claims(reference(case))]:
            finding.measures.append(measured("grounded.coverage", claiming, evidence, _covered))
        else:
            finding.missing["grounded.coverage"] = "no reference claims anything"
        found = [
            {"id": case.id, "model": model, "contradiction": each}
            for model, texts in evidence.answers.items()
            for case in asked
            for each in self._contradicting(words_of(texts[case.id]), known[case.id])
        ]
        finding.detail["grounded"] = {"contradictions": found[:_SHOWN], "contradicting": len(found)}
        return finding

    def looked_up(self, said: str, known: Known) -> tuple[list[str], int]:
        """Claims that are nowhere to be found, and how many there are in all."""
        numbers, units, words = claims.numbers(said), claims.units(said), _words(said)
        missing = [each for each in numbers if not self._is_known(each, known.values)]
        missing += [each for each in units if each not in known.units]
        missing += [each for each in words if not _is_said(each, known.text)]
        return missing, len(numbers) + len(units) + len(words)

    def _is_known(self, number: str, values: set[float]) -> bool:
        value, room = claims.value(number), 0.5 * 10 ** -claims.decimals(number) if self.rounded else 0.0
        return any(abs(each - value) <= room + 1e-9 for each in values)

    def _contradicting(self, said: str, known: Known) -> list[str]:
        return contradictions(self.looked_up(said, known)[0], said, known)


def contradictions(missing: Sequence[str], said: str, known: Known) -> list[str]:
    """Numbers found nowhere in a sentence with the words of a key under which a result has another."""
    found = []
    for sentence in _SENTENCE.split(said):
        lower = sentence.lower()
        for number in (each for each in claims.numbers(sentence) if each in missing):
            about = [(key, value) for key, value in known.leaves if any(word.lower() in lower for word in _KEY_WORD.findall(key))]
            found += [f"{number} where {key} is {value:g}" for key, value in about[:1]]
    return found


def _words(text: str) -> list[str]:
    quotes = claims.quotes(text)
    return [*quotes, *(name for name in claims.names(text) if not any(name in quote for quote in quotes))]


def _is_said(claim: str, text: str) -> bool:
    claim = _plain(claim)
    return claim in text or all(word in text for word in claim.split())


def _claims(text: str) -> int:
    return len(claims.numbers(text)) + len(_words(text))


def _covered(case: Case, said: str) -> Judged:
    """Claims of the reference that the answer makes too."""
    right, lower = reference(case), _plain(said)
    stated = {claims.value(number) for number in claims.numbers(said)}
    missing = [each for each in claims.numbers(right) if claims.value(each) not in stated]
    missing += [each for each in _words(right) if not _is_said(each, lower)]
    return 1 - len(missing) / _claims(right), 1.0, f"does not say {', '.join(missing)}" if missing else ""


def _known(history: Sequence[Mapping[str, Any]]) -> Known:
    known = Known()
    for message in history:
        text = str(message.get("content") or "")
        if message["role"] not in ("tool", "user", "system"):
            continue
        known.text += f" {_plain(text)} {_plain(' '.join(claims.calendar(text)))}"
        values = {claims.value(number) for number in [*claims.numbers(text.replace('"', " ")), *claims.parts_of_dates(text)]}
        known.values |= values | {abs(each) for each in values}  # 4 below zero
        known.units |= set(claims.units(text))
        if message["role"] == "tool":
            _read(known, text)
    return known


def _read(known: Known, text: str) -> None:
    """Take in a result that is JSON: its numbers by key, its short strings as units, the lengths of its lists."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return
    todo: list[tuple[str, Any]] = [("", value)]
    while todo:
        key, each = todo.pop()
        if isinstance(each, dict):
            todo += reversed(each.items())
        elif isinstance(each, list):
            known.values.add(float(len(each)))
            todo += [(key, one) for one in reversed(each)]
        elif isinstance(each, str):
            known.units.add(each)
        elif isinstance(each, int | float) and not isinstance(each, bool):
            known.values |= {float(each), abs(float(each))}
            known.leaves.append((key, float(each)))


def _plain(text: str) -> str:
    return " ".join(text.lower().replace("’", "'").split())
