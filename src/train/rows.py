"""Turn the dataset's conversations into token ids and labels, each row checked, none cut unasked."""

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from transformers import PreTrainedTokenizerBase

from src.core.errors import MlxError
from src.core.files import read_jsonl
from src.core.ledger import Drop
from src.core.run import Run
from src.models.conversation import Fault
from src.models.encoder import Encoder
from src.models.lessons import lessons
from src.models.template import Encoded, examine, examine_all
from src.models.windows import Policy, windows

IGNORED = -100
"""The label of a token that is not learned."""
_CHUNK = 256


@dataclass(frozen=True, slots=True)
class Row:
    """A conversation as it goes into the model."""

    id: str
    ids: "array[int]"
    labels: "array[int]"
    """The ids where the assistant speaks, -100 elsewhere."""
    source: str = ""
    """What kind of source it comes from, as its tag `source:` says."""

    @property
    def learned(self) -> int:
        """Number of tokens that count in the loss."""
        return len(self.labels) - self.labels.count(IGNORED)


def read_rows(run: Run, tokenizer: PreTrainedTokenizerBase, split: str, *, longest: int, too_long: Policy = "drop") -> list[Row]:
    """Read `split`.jsonl of the dataset; rows that cannot be learned go to the ledger.

    What became of rows that were too long, and how many turns had to be taught apart, goes into the manifest.

    Raises:
        MlxError: Where the split is missing.
    """
    path = run.input("dataset").path / f"{split}.jsonl"
    if not path.exists():
        raise MlxError(f"{path} is missing", "make it with `mlx build`")
    reader = _Reader(Encoder(tokenizer), longest, too_long)
    rows: list[Row] = []
    for item in run.progress(reader.rows(read_jsonl(path)), unit="row", desc=f"tokens of {split}"):
        if isinstance(item, Drop):
            run.ledger.drop(item)
        else:
            run.ledger.keep()
            rows.append(item)
    run.info.setdefault("rows", {})[split] = dict(reader.counts)
    if reader.counts["too_long"]:
        run.log.warning("%s: %s", split, reader.report())
    return rows


class _Reader:
    """Makes rows of examples, and counts what it had to do for it."""

    def __init__(self, encoder: Encoder, longest: int, too_long: Policy) -> None:
        self.encoder = encoder
        self.longest = longest
        self.too_long = too_long
        self.counts: Counter[str] = Counter({"examples": 0, "rows": 0, "tokens": 0, "learned": 0})

    def rows(self, examples: Iterable[dict[str, Any]]) -> Iterator[Row | Drop]:
        source = iter(examples)
        while chunk := list(islice(source, _CHUNK)):
            for example, found in zip(chunk, examine_all(self.encoder, chunk), strict=True):
                self.counts["examples"] += 1
                for item in self._of(example, found):
                    if isinstance(item, Row):
                        self.counts.update(rows=1, tokens=len(item.ids), learned=item.learned)
                    yield item

    def report(self) -> str:
        """What became of rows that were too long, in words."""
        counts = self.counts
        lost = f"{max(0, counts['tokens_lost']):,} tokens lost, {max(0, counts['learned_lost']):,} of them learned"
        done = {"drop": "dropped", "split": f"made into {counts['parts']:,} parts", "truncate": "left without their earlier turns"}
        return (
            f"{counts['too_long']:,} rows over {self.longest:,} tokens were {done[self.too_long]}: {lost} (train.too_long: {self.too_long})"
        )

    def _of(self, example: dict[str, Any], found: Encoded | Fault) -> Iterator[Row | Drop]:
        if isinstance(found, Fault):
            yield Drop(example["id"], found.reason, found.detail, example)
        elif len(found.ids) > self.longest:
            yield from self._long(example, found)
        else:
            yield from self._whole(example, found)

    def _whole(self, example: Mapping[str, Any], encoded: Encoded) -> Iterator[Row | Drop]:
        yield _row(example["id"], encoded, example.get("tags"))
        for number, lesson in lessons(self.encoder, example["messages"], example.get("tools"), encoded) if encoded.unlearned else ():
            name = f"{example['id']}#turn{number}"
            if isinstance(lesson, Encoded) and len(lesson.ids) > self.longest:
                lesson = Fault("too_long", f"{len(lesson.ids)} tokens, over {self.longest}")
            if isinstance(lesson, Fault):
                yield Drop(name, lesson.reason, lesson.detail, {**example, "messages": list(example["messages"][: number + 1])})
            else:
                self.counts["turns_apart"] += 1
                yield _row(name, lesson, example.get("tags"))

    def _long(self, example: dict[str, Any], whole: Encoded) -> Iterator[Row | Drop]:
        self.counts.update(too_long=1, tokens_lost=len(whole.ids), learned_lost=sum(whole.mask))
        if self.too_long == "drop":
            yield Drop(example["id"], "too_long", f"{len(whole.ids)} tokens, over {self.longest}", example)
            return
        found = windows(example["messages"], limit=self.longest, policy=self.too_long, measure=lambda some: self._measure(example, some))
        for window in found:
            alone = window.fault is not None and len(found) == 1
            name = example["id"] if alone or self.too_long == "truncate" else f"{example['id']}#part{window.number}"
            part = {**example, "id": name, "messages": list(window.messages)}
            if window.fault:
                yield Drop(name, window.fault.reason, window.fault.detail, part)
                continue
            for item in self._of(part, examine(self.encoder, part)):
                if isinstance(item, Row):
                    self.counts.update(parts=1, tokens_lost=-len(item.ids), learned_lost=-item.learned)
                yield item

    def _measure(self, example: Mapping[str, Any], messages: Any) -> int | Fault:
        found = examine(self.encoder, {**example, "messages": messages})
        return found if isinstance(found, Fault) else len(found.ids)


def _row(name: str, encoded: Encoded, tags: Iterable[str] | None) -> Row:
    labels = (each if learned else IGNORED for each, learned in zip(encoded.ids, encoded.mask, strict=True))
    return Row(name, array("i", encoded.ids), array("i", labels), source_of(tags or ()))


def source_of(tags: Iterable[str]) -> str:
    """The value of the tag `source:`; empty where there is none."""
    return next((tag.removeprefix("source:") for tag in tags if tag.startswith("source:")), "")


def as_columns(rows: Iterable[Row]) -> dict[str, list[Any]]:
    """Return the columns `input_ids` and `labels`, which TRL takes as they are."""
    rows = list(rows)
    return {"input_ids": [list(row.ids) for row in rows], "labels": [list(row.labels) for row in rows]}
