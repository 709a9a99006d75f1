"""Answers for people to score, so that a judge can be held against them: drawn from all models and the reference, without their names."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from typing import IO

from src.core.seeds import derive
from src.eval.answers import in_words, reference, words_of
from src.eval.measure import Evidence
from src.text.spreadsheet import harmless

FILE = "to_score.csv"
COUNT = 40
"""Answers; a judge needs twenty that it scored too."""


def write_to_score(stream: IO[str], evidence: Evidence, rubrics: Sequence[str], tags: Sequence[str] = ()) -> int:
    """Write questions and answers with an empty column for each rubric; return how many."""
    stream.write("\ufeff")  # by which spreadsheets know that it is UTF-8
    writer = csv.writer(stream, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    writer.writerow(["question", "answer", *rubrics])
    rows = _drawn(_answers(evidence, tags), evidence.seed)
    for question, answer in rows:
        writer.writerow([harmless(question), harmless(answer), *[""] * len(rubrics)])
    return len(rows)


def _answers(evidence: Evidence, tags: Sequence[str]) -> Iterator[list[tuple[str, str]]]:
    """What each model said, and the reference."""
    cases = in_words(evidence, tags)
    for said in evidence.answers.values():
        yield [(case.request, words_of(said[case.id])) for case in cases]
    yield [(case.request, reference(case)) for case in cases]


def _drawn(by_model: Iterable[list[tuple[str, str]]], seed: int) -> list[tuple[str, str]]:
    """As many of each model as of any other, always the same for the same seed, in an order that tells nothing; none twice."""
    ranked = [sorted({pair for pair in pairs if pair[1].strip()}, key=lambda pair: derive(seed, *pair)) for pairs in by_model]
    deepest = max(map(len, ranked), default=0)
    turns = [pairs[depth] for depth in range(deepest) for pairs in ranked if depth < len(pairs)]
    return sorted(dict.fromkeys(turns[: 2 * COUNT]), key=lambda pair: derive(seed, "order", *pair))[:COUNT]
