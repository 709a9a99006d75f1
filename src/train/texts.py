"""Turn plain documents into token ids for pre-training: some held out, none lost, long ones cut into pieces."""

import random
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from src.core.errors import MlxError
from src.core.files import read_jsonl
from src.core.ledger import Drop
from src.core.records import Record
from src.core.run import Run
from src.core.seeds import derive
from src.train.rows import Row


@dataclass(frozen=True, slots=True)
class Document:
    """A text as token ids, without special tokens."""

    id: str
    ids: "array[int]"
    words: "array[int]"
    """For each token the number of the word it is of."""
    source: str


def read_documents(run: Run, tokenizer: PreTrainedTokenizerBase) -> list[Document]:
    """Read every document of the input; those without a token go to the ledger."""
    documents: list[Document] = []
    for record in run.progress(_records(run.input("dataset").path), unit="document", desc="tokens"):
        encoded = tokenizer(record.text, add_special_tokens=False, verbose=False)
        if not encoded["input_ids"]:
            run.ledger.drop(Drop(record.id, "empty", "", record.as_row()))
            continue
        run.ledger.keep()
        words = encoded.word_ids() if tokenizer.is_fast else range(len(encoded["input_ids"]))
        source = record.id.partition(":")[0] if ":" in record.id else Path(record.id).parent.as_posix()
        numbers = array("i", (-1 if word is None else word for word in words))
        documents.append(Document(record.id, array("i", encoded["input_ids"]), numbers, source))
    return documents


def _records(path: Path) -> Iterator[Record]:
    if path.suffix == ".jsonl":
        rows = enumerate(read_jsonl(path), start=1)
        yield from (Record(str(row.get("id") or f"{path.name}:{number}"), str(row.get("text") or "")) for number, row in rows)
    elif path.suffix == ".parquet" or (path / "records.parquet").exists():
        from src.core.tables import read_records  # polars is not everywhere a model is trained

        yield from read_records(path)
    else:
        raise MlxError(
            f"{path} holds no records: pretrain learns plain text", "set train.input to the output of dedup or scrape, or to a .jsonl file"
        )


def parted(documents: Sequence[Document], *, share: float, seed: int) -> tuple[list[Document], list[Document]]:
    """Part documents into those to learn, in random order, and `share` to measure: at least one of two or more."""
    mixed = sorted(documents, key=lambda document: document.id)
    random.Random(derive(seed, "documents")).shuffle(mixed)
    held = min(ceil(share * len(mixed)), len(mixed) - 1) if share else 0
    return mixed[held:], mixed[:held]


def pieces(documents: Iterable[Document], *, frame: "Frame", length: int) -> list[Row]:
    """Cut each document, with the frame around the whole of it, into rows of at most `length` tokens; all are learned."""
    return [Row(f"{each.id}#{number}", ids, ids, each.source) for each in documents for number, ids in _cut(frame.around(each.ids), length)]


def framed_pieces(documents: Iterable[Document], *, frame: "Frame", length: int) -> list[Row]:
    """Cut each document into rows of at most `length` tokens, each with the frame around it, as encoders are used to.

    The labels are the numbers of the words, -1 for special tokens.
    """
    room = length - len(frame)
    rows: list[Row] = []
    for each in documents:
        for start in range(0, len(each.ids), room):
            ids, words = frame.around(each.ids[start : start + room]), frame.around(each.words[start : start + room], blank=True)
            rows.append(Row(f"{each.id}#{start // room}", ids, words, each.source))
    return rows


def blocks(documents: Iterable[Document], *, frame: "Frame", length: int) -> list[Row]:
    """Join documents into one stream and cut it into rows of `length` tokens; the last ones may be shorter."""
    stream = array("i")
    for each in documents:
        stream.extend(frame.around(each.ids))
    return [Row(f"block:{number}", ids, ids) for number, ids in _cut(stream, length)]


def _cut(ids: "array[int]", length: int) -> Iterator[tuple[int, "array[int]"]]:
    """Yield numbered pieces; a token that would be left alone, from which nothing can be learned, takes the one before it along."""
    places = list(range(0, len(ids), length))
    if len(ids) % length == 1 and len(places) > 1:
        places[-1] -= 1
    for number, (start, end) in enumerate(pairwise([*places, len(ids)])):
        yield number, ids[start:end]


@dataclass(frozen=True)
class Frame:
    """The special tokens that stand before and after a text."""

    before: tuple[int, ...]
    after: tuple[int, ...]

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase, *, end: bool) -> "Frame":
        """What the tokenizer puts around a text; with `end` an end-of-text token too, where it puts none."""
        found: Any = tokenizer("a", return_special_tokens_mask=True)
        ids, special = found["input_ids"], found["special_tokens_mask"]
        inner = [place for place, mark in enumerate(special) if not mark]
        before, after = tuple(ids[: inner[0]]), tuple(ids[inner[-1] + 1 :])
        return cls(before, after or (tokenizer.eos_token_id,) if end and tokenizer.eos_token_id is not None else after)

    def __len__(self) -> int:
        return len(self.before) + len(self.after)

    def around(self, values: "array[int]", *, blank: bool = False) -> "array[int]":
        """The ids with the special tokens; or other values of the tokens, with -1 for the special ones."""
        before, after = ([-1] * len(each) if blank else each for each in (self.before, self.after))
        return array("i", before) + values + array("i", after)
