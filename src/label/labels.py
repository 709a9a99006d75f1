"""Turn answers into labels: which rows are asked about, and which are kept with what."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from src.core.ledger import Drop
from src.core.records import Record
from src.label.answers import Answers
from src.label.questions import Questions
from src.label.verdict import fold, verdict
from src.llm.client import Reply


class Labels:
    """The labels of one run."""

    def __init__(self, classes: Iterable[str], model: str, questions: Questions, *, relabel: bool) -> None:
        self.names = {fold(name): name for name in classes}
        self.model = model
        self.questions = questions
        self.relabel = relabel
        self.counts: Counter[str] = Counter(dict.fromkeys(self.names.values(), 0))
        self.noted: Counter[str] = Counter(given=0, shortened=0)

    def figures(self) -> dict[str, Any]:
        """What it came to, for the manifest.

        Returns:
            `classes`: rows of each; `given`: rows that had their label; `shortened`: rows shown in part; `agreed` and `differed`:
            answers like and unlike the label that the row came with, if any did.
        """
        return {**self.noted, "classes": dict(self.counts)}

    def given(self, record: Record) -> str | None:
        """The class that a row comes with, if its label is one."""
        return self.names.get(fold(str(record.meta.get("label", ""))))

    def unlabelled(self, records: Iterable[Record]) -> Iterator[str]:
        """Texts of the rows to ask about."""
        for record in records:
            if self.relabel or not self.given(record):
                self.noted["shortened"] += len(record.text) > self.questions.max_chars
                yield record.text

    def judge(self, records: Iterable[Record], answers: Answers, failed: Mapping[str, str]) -> Iterator[Record | Drop]:
        """Give each row its label, or drop it.

        Args:
            records: The rows.
            answers: What the model said.
            failed: For questions without an answer, by their keys, the reason.
        """
        for record in records:
            given = self.given(record)
            if given and not self.relabel:
                self.noted["given"] += 1
                yield self._kept(record, given, {})
                continue
            key = self.questions.key(record.text)
            if (reply := answers.get(key)) is None:
                yield Drop(record.id, "no_answer", failed[key], record.as_row())
            elif name := verdict(reply.text, self.names):
                if given:
                    self.noted["agreed" if name == given else "differed"] += 1
                before = {"given_label": record.meta["label"]} if record.meta.get("label") not in (None, "") else {}
                yield self._kept(record, name, {**before, "labelled_by": self.model})
            else:
                yield Drop(record.id, "unparsable", self._said(reply), record.as_row())

    def _kept(self, record: Record, name: str, notes: dict[str, Any]) -> Record:
        self.counts[name] += 1
        return Record(record.id, record.text, {**record.meta, **notes, "label": name})

    def _said(self, reply: Reply) -> str:
        cut = f", cut at max_tokens {self.questions.max_tokens}" if reply.finish == "length" else ""
        return f"{self.model} said {reply.text[:200]!r}{cut}"
