"""The card of a dataset: what is in it, from where, under which terms, how it was made and what was left out."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml
from pydantic import BaseModel

from src.build.candidate import Candidate
from src.build.split import SPLITS

UNKNOWN = "unknown"
_MOST = 30
"""Documents and values that a table lists."""
_BAR = 40


@dataclass(frozen=True)
class Card:
    """What is needed to write one."""

    name: str
    seed: int
    config: Mapping[str, Any]
    """The settings that are no defaults."""
    info: Mapping[str, Any]
    """What the manifest will say."""
    counts: Mapping[str, Any]
    """Of the ledger."""
    documents: Mapping[str, Mapping[str, Any]]
    """Meta of the records that rows were made from."""

    def text(self, rows: Sequence[Candidate]) -> str:
        """Markdown."""
        parts = [f"# {self.name}: dataset card\n", *self.splits(), *self.sources(rows), *self.licences(rows), *self.labels(rows)]
        parts += [*self.lengths(), *self.left_out(), *self.contamination(), *self.variety(), *self.tests(), *self.made()]
        return "\n".join(parts).rstrip() + "\n"

    def splits(self) -> Iterator[str]:
        """Rows and tokens."""
        exact = "" if self.info["lengths"]["exact"] else " (estimated)"
        found = self.info["lengths"]["splits"]
        pairs = self.info["preferences"]
        rows = [
            [
                split,
                part["rows"],
                pairs.get(split, 0),
                self.info["splits"][split]["sources"],
                part["tokens"],
                part["trained"],
                part["longest"],
            ]
            for split in SPLITS
            if (part := found.get(split))
        ]
        yield from _table(["split", "rows", "preferences", "documents", f"tokens{exact}", "learned", "longest"], rows)

    def sources(self, rows: Sequence[Candidate]) -> Iterator[str]:
        """Which source gave how much, and the documents behind it."""
        yield "## Sources\n"
        by_source = {name: [row for row in rows if row.source == name] for name in sorted({row.source for row in rows})}
        mix = self.info.get("mix") or {}
        yield from _table(
            ["source", *SPLITS, "tokens", "shown again"],
            [
                [
                    name,
                    *(sum(row.split == split for row in found) for split in SPLITS),
                    sum(row.tokens for row in found),
                    mix.get(name, {}).get("repeats", 0),
                ]
                for name, found in by_source.items()
            ],
        )
        used = Counter(source for row in rows for source in row.example["sources"] if source in self.documents)
        if used:
            yield from _table(
                ["document", "title", "author", "address", "licence", "rows"],
                [
                    [name, *(self.documents[name].get(key, "") for key in ("title", "author", "url", "licence")), count]
                    for name, count in _top(used)
                ],
            )
            yield from _more(used)

    def licences(self, rows: Sequence[Candidate]) -> Iterator[str]:
        """Under which terms, with how many rows."""
        yield "## Licences\n"
        counts = Counter(row.licence or UNKNOWN for row in rows if not row.repeat)
        yield from _table(["licence", "rows", "share"], [[name, n, f"{n / counts.total():.1%}"] for name, n in _top(counts)])
        if counts[UNKNOWN]:
            yield "Of unknown licence: say it with `licence:` of the source, or in the records' meta, before the dataset is passed on.\n"

    def labels(self, rows: Sequence[Candidate]) -> Iterator[str]:
        """Classes and tags."""
        labels = Counter(row.example["label"] for row in rows if row.example["label"] is not None)
        if labels:
            yield "## Classes\n"
            yield from _by_split(labels, rows, lambda row: [str(row.example["label"])])
        tags = Counter(tag for row in rows for tag in row.example["tags"])
        yield "## Tags\n"
        yield from _by_split(tags, rows, lambda row: row.example["tags"])

    def lengths(self) -> Iterator[str]:
        """The histogram of training, in text; the picture beside it shows all splits."""
        yield "## Lengths\n"
        yield "![lengths](lengths.png)\n"
        width = self.info["lengths"]["width"]
        for split, part in self.info["lengths"]["splits"].items():
            most = max(part["counts"], default=0)
            yield f"{split}: {_quantiles(part)}, longest {part['longest']:,} tokens\n"
            if split == "train" and most:
                yield "```"
                for number, count in enumerate(part["counts"]):
                    yield (
                        f"{number * width:>7,} {'█' * round(_BAR * count / most)} {count:,}".rstrip() if count else f"{number * width:>7,}"
                    )
                yield "```\n"

    def left_out(self) -> Iterator[str]:
        """Drops by reason."""
        yield "## Left out\n"
        counted = ", ".join(f"{self.counts[key]:,} {key}" for key in ("read", "kept", "dropped"))
        yield f"Rows: {counted}; each dropped one with its reason in `dropped.jsonl`.\n"
        if self.counts["reasons"]:
            yield from _table(["reason", "rows"], list(self.counts["reasons"].items()))
        if near := self.info.get("near"):
            documents, groups = f"{near['documents']:,} documents", f"{near['groups']:,} groups"
            yield f"{near['alike']:,} rows have a near-duplicate, which is in the same split: {documents} became {groups}.\n"

    def contamination(self) -> Iterator[str]:
        """What was found of evaluation sets."""
        if found := self.info.get("decontaminate"):
            yield "## Decontamination\n"
            yield from _table(
                ["evaluation set", "items", "too short to tell", "rows removed: word for word", "by runs of words", "near"],
                [
                    [title, about["items"], about["too_short"], *(about["found"].get(how, 0) for how in ("exact", "ngram", "near"))]
                    for title, about in found.items()
                ],
            )

    def variety(self) -> Iterator[str]:
        """How varied the generated rows are."""
        if found := self.info.get("diversity"):
            yield "## Variety of generated rows\n"
            keys = ("rows", "different", "distinct_1", "distinct_2", "distinct_3", "templates", "largest_template")
            rows = [
                [name, part, *(of_part.get(key, "") for key in keys)] for name, parts in found.items() for part, of_part in parts.items()
            ]
            yield from _table(["source", "of", *(key.replace("_", " ") for key in keys)], rows)

    def tests(self) -> Iterator[str]:
        """The checks."""
        if found := self.info.get("checks"):
            yield "## Checks\n"
            yield from _table(
                ["check", "state", "failed", "rows", "allowed"],
                [[each["check"], each["state"], each["failed"], each["rows"], f"{each['allowed']:.1%}"] for each in found],
            )

    def made(self) -> Iterator[str]:
        """Settings."""
        yield "## How it was made\n"
        yield f"`mlx build`, seed {self.seed}, with these settings; all else by default.\n"
        yield f"```yaml\n{yaml.safe_dump({'build': self.config}, sort_keys=False, allow_unicode=True, width=120).rstrip()}\n```"


def chosen(value: Any) -> Any:
    """The settings of a config that are no defaults, and the type of each part."""
    if isinstance(value, BaseModel):
        fields = type(value).model_fields
        kept = {key: getattr(value, key) for key in sorted(fields, key=lambda key: key != "type")}
        return {key: chosen(v) for key, v in kept.items() if key == "type" or v != fields[key].get_default(call_default_factory=True)}
    if isinstance(value, dict):
        return {str(key): chosen(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [chosen(each) for each in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _quantiles(part: Mapping[str, Any]) -> str:
    return ", ".join(f"{share} up to {part.get(key, 0):,}" for share, key in (("half", "p50"), ("90 %", "p90"), ("99 %", "p99")))


def _by_split(counts: Counter[Any], rows: Iterable[Candidate], values: Any) -> Iterator[str]:
    found = Counter((value, row.split) for row in rows for value in values(row))
    yield from _table(["", *SPLITS], [[name, *(found[name, split] for split in SPLITS)] for name, _ in _top(counts)])
    yield from _more(counts)


def _top(counts: Counter[Any]) -> list[tuple[Any, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], str(item[0])))[:_MOST]


def _more(counts: Counter[Any]) -> Iterator[str]:
    if len(counts) > _MOST:
        yield f"… and {len(counts) - _MOST:,} more.\n"


def _table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    yield "| " + " | ".join(header) + " |"
    yield "|" + "|".join("---" for _ in header) + "|"
    for row in rows:
        yield "| " + " | ".join(f"{cell:,}" if isinstance(cell, int) else _escaped(str(cell)) for cell in row) + " |"
    yield ""


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
