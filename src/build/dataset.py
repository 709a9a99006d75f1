"""From sources to train.jsonl, validation.jsonl and test.jsonl: check, split, part, shuffle, write."""

import random
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from src.build import BuildConfig
from src.build.candidate import Candidate
from src.build.chats import Chats
from src.build.leaks import parted
from src.build.passages import Passages
from src.build.split import SPLITS, TRAIN, assign
from src.build.tokens import Tokens, folder_of_scratch
from src.build.tools import ToolDialogues
from src.core.errors import MlxError
from src.core.files import to_json, write_jsonl
from src.core.ledger import Drop
from src.core.records import Example, Record
from src.core.run import Run
from src.core.seeds import derive
from src.models.conversation import fault_in

_PIECE = 4000  # characters of a neutral text a row of texts.jsonl holds about


class Dataset:
    """One run of the build."""

    def __init__(self, config: BuildConfig, run: Run) -> None:
        self.config = config
        self.run = run
        self.tokens = Tokens.of(config.tokenizer, config.max_tokens)

    def write(self) -> None:
        """Do it all, and note what came of it in the manifest."""
        rows = self.kept(map(self.formed, self.examples()))
        if self.config.tokenizer == "scratch":  # what it learns from is decided first
            rows = self.kept(parted(self.given(rows)))
            self.tokens = self.scratch(rows)
            rows = self.checked(rows)
        else:
            rows = self.kept(parted(self.given(self.checked(rows))))
        if not rows:
            raise MlxError(
                f"{self.run.stage}: no example is left of {self.run.ledger.read}: {self.reasons()}",
                f"look at {self.run.stage}.sources and at dropped.jsonl",
            )
        rows.sort(key=lambda row: row.example["id"])
        random.Random(derive(self.run.seed, "order")).shuffle(rows)
        for split in SPLITS:
            chosen = [row.example for row in rows if row.split == split]
            self.run.ledger.keep(write_jsonl(self.run.output / f"{split}.jsonl", chosen))
            if not chosen:
                self.run.log.warning("%s.jsonl is empty: too few documents, or build.splits.%s is 0", split, split)
        self.note(rows)

    def examples(self) -> Iterator[Candidate | Drop]:
        """What the sources give."""
        makers = [source for source in self.config.sources if isinstance(source, ToolDialogues)]
        for number, source in enumerate(self.config.sources):
            if isinstance(source, Passages):
                if not self.run.has("records"):
                    raise MlxError(
                        f"{self.run.stage}.sources[{number}]: passages need records", "add a section `scrape:`, or set build.input"
                    )
                yield from source.examples(self.persona(), measure=self.tokens.measure, seed=self.run.seed)
            elif isinstance(source, Chats):
                yield from source.examples()
            elif isinstance(source, ToolDialogues):
                yield from self.dialogues(source, next(n for n, each in enumerate(makers) if each is source))

    def dialogues(self, source: ToolDialogues, number: int) -> Iterator[Candidate]:
        """What a maker of tool dialogues gives; it has split them itself."""
        return (_decided(row, number) for row in source.examples(derive(self.run.seed, "tools", number)))

    def persona(self) -> Iterator[Record]:
        """The records of the persona."""
        return (record for record in self.run.records() if record.matches(self.config.persona))

    def formed(self, item: Candidate | Drop) -> Candidate | Drop:
        """Put the persona's system prompt first where there is none, and look whether the conversation is whole."""
        if isinstance(item, Drop):
            return item
        example = item.example
        if self.config.system and not any(message["role"] == "system" for message in example["messages"]):
            example["messages"] = [{"role": "system", "content": self.config.system}, *example["messages"]]
        fault = fault_in(example["messages"], example["tools"])
        return Drop(example["id"], fault.reason, fault.detail, dict(example)) if fault else item

    def checked(self, rows: list[Candidate]) -> list[Candidate]:
        """Keep those whose tokens can be learned as they will be served."""
        return self.kept(self.tokens.checked(self.run.progress(rows, total=len(rows), desc="check tokens")))

    def given(self, candidates: Iterable[Candidate]) -> list[Candidate]:
        """Give each candidate to a split: documents by hash, for passages and chats each on their own."""
        rows = list(candidates)
        for kind in sorted({row.example["tags"][0] for row in rows if not row.decided}):
            mine = [row for row in rows if not row.decided and row.example["tags"][0] == kind]
            splits = assign(Counter(row.key for row in mine), self.config.splits, self.run.seed)
            for row in mine:
                row.split = splits[row.key]
        return rows

    def kept(self, items: Iterable[Candidate | Drop]) -> list[Candidate]:
        """Write the drops into the ledger and keep the rest."""
        rows = []
        for item in items:
            if isinstance(item, Drop):
                self.run.ledger.drop(item)
            else:
                rows.append(item)
        return rows

    def scratch(self, rows: list[Candidate]) -> Tokens:
        """Make a tokenizer of the rows and neutral texts for training, and lay the texts beside it."""
        training = [row for row in rows if row.split == TRAIN]
        neutral = list(self.neutral())
        texts = [*neutral, *(text for row in training for text in spoken(row.example["messages"]))]
        folder = self.run.output / "scratch"
        tokens = folder_of_scratch(texts, folder, self.config.max_tokens)
        write_jsonl(folder / "texts.jsonl", ({"text": text} for text in neutral))
        return tokens

    def neutral(self) -> Iterator[str]:
        """Texts of nobody's manner for training: records that are not the persona's, in pieces."""
        if not self.config.persona:
            return
        others = [record for record in self.run.records() if not record.matches(self.config.persona)]
        keys = Counter(str(record.meta.get("source") or record.id) for record in others)
        splits = assign(keys, self.config.splits, self.run.seed)
        for record in others:
            if splits[str(record.meta.get("source") or record.id)] == TRAIN:
                yield from pieces(record.text)

    def note(self, rows: list[Candidate]) -> None:
        """Write into the manifest what the dataset holds."""
        self.run.info |= {
            "system": self.config.system,
            "persona": self.config.persona or None,
            "splits": {split: _summary([row for row in rows if row.split == split]) for split in SPLITS},
            "tags": dict(sorted(Counter(tag for row in rows for tag in row.example["tags"]).items())),
            "template": self.tokens.template(self.config.tokenizer),
            "tokens": {"exact": self.tokens.exact, **_totals(rows)},
        }

    def reasons(self) -> str:
        """Drops by reason, in words."""
        return ", ".join(f"{reason} {count}" for reason, count in self.run.ledger.counts()["reasons"].items()) or "the sources gave none"


def spoken(messages: Iterable[dict[str, Any]]) -> Iterator[str]:
    """What a tokenizer should know of messages: texts, calls, arguments."""
    for message in messages:
        if message.get("content"):
            yield str(message["content"])
        for call in message.get("tool_calls") or ():
            yield to_json({"name": call["function"]["name"], "arguments": call["function"]["arguments"]})


def pieces(text: str) -> Iterator[str]:
    """Cut a text at the ends of paragraphs, about `_PIECE` characters a piece."""
    piece = ""
    for paragraph in text.split("\n\n"):
        piece += paragraph + "\n\n"
        if len(piece) >= _PIECE:
            yield piece.strip()
            piece = ""
    if piece.strip():
        yield piece.strip()


def _decided(row: dict[str, Any], number: int) -> Candidate:
    """A row of a source that has split its rows itself; `number` keeps the ids of two such sources apart."""
    name = f"{row['id']}@{number}" if number else row["id"]
    example = Example(
        id=name, messages=row["messages"], tools=row["tools"], label=None, tags=["source:tools", *row["tags"]], sources=row["sources"]
    )
    return Candidate(example, name, row["split"], decided=True)


def _summary(rows: list[Candidate]) -> dict[str, int]:
    sources = {source for row in rows for source in row.example["sources"]}
    return {"rows": len(rows), "sources": len(sources), **_totals(rows)}


def _totals(rows: list[Candidate]) -> dict[str, int]:
    counts = [row.tokens for row in rows]
    return {"total": sum(counts), "trained": sum(row.trained for row in rows), "longest": max(counts, default=0)}
