"""From sources to train.jsonl, validation.jsonl and test.jsonl: check, clean, split, part, mix, shuffle, write."""

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from src.build import BuildConfig
from src.build.candidate import Candidate
from src.build.card import Card, chosen
from src.build.check import check, table
from src.build.contamination import Decontamination
from src.build.diversity import diversity
from src.build.leaks import parted
from src.build.lengths import lengths
from src.build.mix import Mixed
from src.build.near import join
from src.build.sources import Sources
from src.build.split import SPLITS, TRAIN, assign, assign_evenly
from src.build.tags import unknown_tag, value_of
from src.build.tokens import Tokens, folder_of_scratch
from src.core.errors import MlxError
from src.core.files import to_json, write_jsonl, write_text
from src.core.ledger import Drop
from src.core.records import Preference
from src.core.run import Run
from src.core.seeds import derive
from src.models.conversation import Fault, fault_in
from src.models.thoughts import thinks, thought_faults, without_thoughts

_PIECE = 4000  # characters of a neutral text a row of texts.jsonl holds about


class Dataset:
    """One run of the build."""

    def __init__(self, config: BuildConfig, run: Run) -> None:
        self.config = config
        self.run = run
        self.tokens = Tokens.of(config.tokenizer, config.max_tokens, config.too_long)
        self.unclean = Decontamination(config.decontaminate)

    def write(self) -> None:
        """Do it all, and note what came of it in the manifest."""
        rows = self.kept(map(self.formed, Sources(self.config, self.run, self.tokens).examples()))
        if self.config.decontaminate:
            rows = self.kept(self.unclean.clean(self.run.progress(rows, total=len(rows), desc="decontaminate")))
        if self.config.tokenizer == "scratch":  # what it learns from is decided first
            rows = self.kept(parted(self.given(rows)))
            self.tokens = self.scratch(rows)
            rows = self.checked(rows)
        else:
            rows = self.kept(parted(self.given(self.checked(rows))))
        rows = self.mixed(self.kept(self.unclean.clean_of_splits(rows)))
        if not rows:
            raise MlxError(
                f"{self.run.stage}: no example is left of {self.run.ledger.read}: {self.reasons()}",
                f"look at {self.run.stage}.sources and at dropped.jsonl",
            )
        rows.sort(key=lambda row: row.example["id"])
        random.Random(derive(self.run.seed, "order")).shuffle(rows)
        for split in SPLITS:
            self.put(split, [row for row in rows if row.split == split])
        self.note(rows)
        self.judge()
        self.describe(rows)

    def put(self, split: str, rows: Sequence[Candidate]) -> None:
        """Write a split: its conversations, and its preferences where it has any."""
        write_jsonl(self.run.output / f"{split}.jsonl", (row.example for row in rows if row.rejected is None))
        pairs = [pair(row) for row in rows if row.rejected is not None]
        if pairs:
            write_jsonl(self.run.output / f"{split}_preferences.jsonl", pairs)
        self.run.ledger.keep(sum(not row.repeat for row in rows))
        if not rows:
            self.run.log.warning("%s.jsonl is empty: too few documents, or build.splits.%s is 0", split, split)

    def formed(self, item: Candidate | Drop) -> Candidate | Drop:
        """Put the persona's system prompt first where there is none, and look whether the conversation is whole."""
        if isinstance(item, Drop):
            return item
        example = item.example
        if self.config.system and not any(message["role"] == "system" for message in example["messages"]):
            example["messages"] = [{"role": "system", "content": self.config.system}, *example["messages"]]
        if wrong := unknown_tag(example["tags"][1:], self.config.tags):
            return Drop(example["id"], "unknown_tag", wrong, dict(example))
        sides = [example["messages"], *([[*item.prompt, *item.rejected]] if item.rejected is not None else [])]
        fault = next((found for side in sides if (found := fault_in(side, example["tools"]) or self.thought(side))), None)
        if not fault and self.config.thoughts == "strip":
            example["messages"] = without_thoughts(example["messages"])
            item.rejected = without_thoughts(item.rejected) if item.rejected is not None else None
        return Drop(example["id"], fault.reason, fault.detail, dict(example)) if fault else item

    def thought(self, messages: Sequence[dict[str, Any]]) -> Fault | None:
        """What is wrong with the thoughts in a conversation, or that there are any where there should be none."""
        if self.config.thoughts == "refuse" and (number := next((n for n, each in enumerate(messages) if thinks(each)), None)) is not None:
            return Fault("thoughts_refused", f"message {number} holds a thought (build.thoughts: refuse)")
        return next(thought_faults(messages), None)

    def checked(self, rows: list[Candidate]) -> list[Candidate]:
        """Keep those whose tokens can be learned as they will be served."""
        return self.kept(self.tokens.checked(self.run.progress(rows, total=len(rows), desc="check tokens")))

    def given(self, rows: list[Candidate]) -> list[Candidate]:
        """Give each candidate to a split: documents, with those that hold its like, by hash; each kind of source on its own."""
        if self.config.splits.near is not None and any(not row.decided for row in rows):
            self.run.info["near"] = join(rows, self.config.splits.near)
            self.warn_of_one_group(rows)
        splits: dict[str, str] = {}
        for kind in sorted({row.example["tags"][0] for row in rows if not row.decided}):
            mine = [row for row in rows if not row.decided and row.example["tags"][0] == kind]
            splits = self.assigned([row for row in mine if row.key not in splits]) | splits
            for row in mine:
                row.split = splits[row.key]
        return rows

    def assigned(self, rows: Sequence[Candidate]) -> dict[str, str]:
        """The split of each document of rows."""
        shares = self.config.splits
        if not shares.stratify:
            return assign(Counter(row.key for row in rows), shares, self.run.seed)
        strata: dict[str, Counter[str]] = {}
        for row in rows:
            strata.setdefault(row.key, Counter())[to_json([value_of(row.example, key) for key in shares.stratify])] += 1
        return assign_evenly(strata, shares, self.run.seed)

    def warn_of_one_group(self, rows: Sequence[Candidate]) -> None:
        """Say so where near-duplicates chain most rows together, for then the shares cannot hold."""
        sizes = Counter(row.key for row in rows if not row.decided)
        documents, groups = (self.run.info["near"][name] for name in ("documents", "groups"))
        if groups < documents and max(sizes.values()) > sizes.total() / 2:
            self.run.log.warning(
                "near-duplicates tie %d of %d rows into one group, which shares a split: raise build.splits.near or deduplicate",
                max(sizes.values()),
                sizes.total(),
            )

    def mixed(self, rows: list[Candidate]) -> list[Candidate]:
        """Bring the sources of the training split to their weights."""
        if self.config.mix is None:
            return rows
        mixed = Mixed(self.config.mix, self.run.seed)
        rows = self.kept(mixed.rows(rows))
        self.run.info["mix"] = mixed.info
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
        tokens = folder_of_scratch(texts, folder, self.config.max_tokens, self.config.too_long)
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
                yield from (piece for piece in pieces(record.text) if not self.unclean.holds(piece))

    def note(self, rows: list[Candidate]) -> None:
        """Write into the manifest what the dataset holds."""
        made = {name: [row.example for row in rows if row.source == name] for name in sorted({r.source for r in rows if r.decided})}
        self.run.info |= {
            "system": self.config.system,
            "persona": self.config.persona or None,
            "splits": {split: _summary([row for row in rows if row.split == split]) for split in SPLITS},
            "preferences": dict(Counter(str(row.split) for row in rows if row.rejected is not None)),
            "tags": dict(sorted(Counter(tag for row in rows for tag in row.example["tags"]).items())),
            "template": self.tokens.template(self.config.tokenizer),
            "tokens": {"exact": self.tokens.exact, **_totals(rows)},
            "too_long": {"policy": self.config.too_long, **self.tokens.long},
            "thoughts": sum(any(map(thinks, row.example["messages"])) for row in rows),
            "lengths": lengths(rows, exact=self.tokens.exact),
            "diversity": {name: diversity(examples) for name, examples in made.items()},
        }
        if self.config.decontaminate:
            self.run.info["decontaminate"] = self.unclean.report()
        if self.tokens.long:
            self.run.log.warning("%s (%s.too_long: %s)", self.tokens.report(), self.run.stage, self.config.too_long)

    def judge(self) -> None:
        """Run the checks over what was written.

        Raises:
            MlxError: Where one fails that does not say `tolerate: true`.
        """
        verdicts = list(check(self.run.output, self.config.checks))
        self.run.info["checks"] = [verdict.as_row() for verdict in verdicts]
        for verdict in verdicts:
            if verdict.state == "tolerated":
                self.run.log.warning("check %s fails (tolerated): %d of %d", verdict.check, verdict.failed, verdict.rows)
        if any(verdict.state == "fail" for verdict in verdicts):
            raise MlxError(
                f"{self.run.stage}: the dataset fails its checks\n{table(verdicts)}",
                f"mend the sources, allow a share with max_share, or set tolerate: true in {self.run.stage}.checks",
            )

    def describe(self, rows: list[Candidate]) -> None:
        """Write the card and the picture of the lengths."""
        from src.build.plot import plot_lengths

        used = {source for row in rows for source in row.example["sources"]}
        documents = {record.id: record.meta for record in self.run.records() if record.id in used} if self.run.has("records") else {}
        settings = chosen(self.config)
        card = Card(self.run.name, self.run.seed, settings, self.run.info, self.run.ledger.counts(), documents)
        write_text(self.run.output / "card.md", card.text(rows))
        plot_lengths(self.run.info["lengths"], self.run.output / "lengths.png", title=self.run.name, limit=self.config.max_tokens)

    def reasons(self) -> str:
        """Drops by reason, in words."""
        return ", ".join(f"{reason} {count}" for reason, count in self.run.ledger.counts()["reasons"].items()) or "the sources gave none"


def pair(row: Candidate) -> Preference:
    """A preference as it is written."""
    example = row.example
    return Preference(
        id=example["id"],
        prompt=row.prompt,
        chosen=example["messages"][-row.chosen :],
        rejected=row.rejected or [],
        tools=example["tools"],
        tags=example["tags"],
        sources=example["sources"],
    )


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


def _summary(rows: list[Candidate]) -> dict[str, int]:
    sources = {source for row in rows for source in row.example["sources"]}
    return {"rows": len(rows), "sources": len(sources), **_totals(rows)}


def _totals(rows: list[Candidate]) -> dict[str, int]:
    counts = [row.tokens for row in rows]
    return {"total": sum(counts), "trained": sum(row.trained for row in rows), "longest": max(counts, default=0)}
