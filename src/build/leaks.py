"""Rows that say the same in two splits: they go from training, so that a test shows what was learned and not remembered."""

from collections import Counter
from collections.abc import Iterable, Iterator

from src.build.candidate import Candidate
from src.build.split import SPLITS, TRAIN
from src.core.files import digest, to_json
from src.core.ledger import Drop
from src.text.normalise import normalise
from src.text.shingles import shingles, words

_TELLING = 12  # words from which an answer counts as one of its own: "I don't know." may stand in any split
_RUN = 13  # words in a row that two texts have in common by no chance (Brown et al. 2020, appendix C)
_SHARE = 0.5  # share of such runs from which an answer is the other's, as in two editions of a book


def parted(candidates: Iterable[Candidate]) -> Iterator[Candidate | Drop]:
    """Pass on what is in one split only, test first.

    Dropped are `duplicate` rows (the same messages and tools, the same rejected answer) and those that `leaks_into_test` or
    `leaks_into_validation`: the same requests, the same answer of some length, one of which half stands there word for
    word, or a near-duplicate of the whole. A source that decides about splits itself is trusted to keep them apart.
    """
    rows = list(candidates)
    held = Held()
    seen: dict[str, str] = {}
    for split in reversed(SPLITS):
        for row in (each for each in rows if each.split == split):
            example = row.example
            same = digest([to_json(example["messages"]), to_json(example["tools"]), *([to_json(row.rejected)] if row.rejected else [])])
            if not row.decided and (leak := held.leak(row, split)):
                yield Drop(example["id"], f"leaks_into_{leak[0]}", leak[1], dict(example))
            elif same in seen:
                yield Drop(example["id"], "duplicate", seen[same], dict(example))
            else:
                seen[same] = example["id"]
                if split != TRAIN and not row.decided:
                    held.add(row, split)
                yield row


class Held:
    """What the rows held out say."""

    def __init__(self) -> None:
        self.exact: dict[str, tuple[str, str]] = {}
        self.runs: dict[str, tuple[str, str]] = {}
        self.alike: dict[int, tuple[str, str]] = {}

    def add(self, row: Candidate, split: str) -> None:
        """Take in a row of `split`."""
        where = (split, row.example["id"])
        for mark in _asked_and_answered(row):
            self.exact.setdefault(mark, where)
        for run in _runs(row):
            self.runs.setdefault(run, where)
        if row.alike is not None:
            self.alike.setdefault(row.alike, where)

    def leak(self, row: Candidate, split: str) -> tuple[str, str] | None:
        """The other split where `row` stands already, and as what."""
        for mark in _asked_and_answered(row):
            if (where := self.exact.get(mark)) and where[0] != split:
                return where
        if row.alike is not None and (where := self.alike.get(row.alike)) and where[0] != split:
            return where[0], f"{where[1]}: a near-duplicate"
        runs = _runs(row)
        found = Counter(self.runs[run] for run in runs if run in self.runs and self.runs[run][0] != split)
        if not runs or found.total() < _SHARE * len(runs):
            return None
        (into, name), _ = found.most_common(1)[0]
        return into, f"{name} and others: {found.total() / len(runs):.0%} of its runs of {_RUN} words"


def _asked_and_answered(row: Candidate) -> list[str]:
    said = row.example["messages"]
    asked = [message["content"] for message in said if message["role"] == "user" and message["content"]]
    return [digest(["asked", normalise("\n".join(asked))]), *(digest(["answered", text]) for text in _answers(row, _TELLING))]


def _answers(row: Candidate, least: int) -> list[str]:
    texts = [normalise(message.get("content") or "") for message in row.example["messages"] if message["role"] == "assistant"]
    return [text for text in texts if len(words(text)) >= least]


def _runs(row: Candidate) -> list[str]:
    return [run for text in _answers(row, 2 * _RUN) for run in shingles(text, _RUN)]
