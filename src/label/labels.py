"""Turn outcomes into rows: which are asked about, and which are kept with what."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from src.core.ledger import Drop
from src.core.records import Record
from src.llm.asking.standing import Ask, Outcome, Standing
from src.llm.asking.task import Answer
from src.llm.asking.verdict import fold

PEOPLE = "people"
"""Who labelled a row that was corrected."""


class Labels:
    """The labels of one run."""

    def __init__(
        self, classes: Iterable[str], model: str, standing: Standing, *, relabel: bool, corrections: Mapping[str, Answer] | None = None
    ) -> None:
        self.names = {fold(name): name for name in classes}
        self.model = model
        self.standing = standing
        self.relabel = relabel
        self.corrections = dict(corrections or {})
        self.counts: Counter[str] = Counter(dict.fromkeys(self.names.values(), 0))
        self.noted: Counter[str] = Counter(given=0, shortened=0)
        self.unsure: list[tuple[Drop, str]] = []
        """Rows for people to decide, with what the model was shown of them."""

    def figures(self) -> dict[str, Any]:
        """What it came to, for the manifest.

        Returns:
            `classes`: rows of each; `given`: rows that had their label; `shortened`: rows shown in part; `agreed` and `differed`:
            answers like and unlike the label that the row came with, if any did; `corrected`: rows that people labelled.
        """
        return {**self.noted, "classes": dict(self.counts)}

    def given(self, record: Record) -> str | None:
        """The class that a row comes with, if its label is one."""
        return self.names.get(fold(str(record.meta.get("label", ""))))

    def unlabelled(self, records: Iterable[Record]) -> Iterator[str]:
        """Texts of the rows to ask about."""
        for record in records:
            if record.id not in self.corrections and (self.relabel or not self.given(record)):
                yield record.text

    def judge(self, records: Iterable[Record]) -> Iterator[Record | Drop]:
        """Give each row its label, or drop it."""
        for record in records:
            given = self.given(record)
            if correction := self.corrections.get(record.id):
                self.noted["corrected"] += 1
                yield self._kept(record, correction.value, {**_before(record), "labelled_by": PEOPLE})
            elif given and not self.relabel:
                self.noted["given"] += 1
                yield self._kept(record, given, {})
            else:
                yield self._judged(record, given)

    def _judged(self, record: Record, given: str | None) -> Record | Drop:
        questions = self.standing.questions
        self.noted["shortened"] += len(record.text) > questions.max_chars
        outcome = outcome_of(self.standing, record.text)
        if outcome.value is None:
            drop = Drop(record.id, outcome.reason, outcome.detail, record.as_row())
            if outcome.reason != "no_answer":
                self.unsure.append((Drop(record.id, outcome.reason, outcome.detail), questions.shown(record.text)))
            return drop
        if given:
            self.noted["agreed" if outcome.value == given else "differed"] += 1
        votes = {"votes": dict(outcome.votes)} if self.standing.votes > 1 else {}
        return self._kept(record, outcome.value, {**_before(record), "labelled_by": self.model, **votes})

    def _kept(self, record: Record, value: Any, notes: dict[str, Any]) -> Record:
        """The row with its class, or its answer and the label in that."""
        found = {"label": value} if isinstance(value, str) else {"answer": value}
        if isinstance(value, dict) and isinstance(value.get("label"), str):
            found["label"] = value["label"]
        if "label" in found:
            self.counts[found["label"]] += 1
        return Record(record.id, record.text, {**record.meta, **notes, **found})


def _before(record: Record) -> dict[str, Any]:
    return {"given_label": record.meta["label"]} if record.meta.get("label") not in (None, "") else {}


def outcome_of(standing: Standing, text: str) -> Outcome:
    """What came of a text once all calls are made."""
    found = standing.of(text)
    assert not isinstance(found, Ask), f"nobody asked about {text[:80]!r}"  # noqa: S101 (a bug of ours)
    return found
