"""Tests of a dataset, as one writes them in YAML: what a row must not be, and how large a share of rows may be so."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from src.build.tags import value_of
from src.core.config import Config

Row = Mapping[str, Any]
Fault = tuple[str, str]
"""The id of a row, and what is wrong with it."""
Part = Literal["answers", "requests", "all"]
_ROLES: dict[str, tuple[str, ...]] = {"answers": ("assistant",), "requests": ("user",), "all": ("system", "user", "assistant", "tool")}


class Tolerant(Config):
    """What every check has."""

    splits: tuple[Literal["train", "validation", "test"], ...] = Field(("train", "validation", "test"), min_length=1)
    """Which splits are looked at."""
    max_share: float = Field(0.0, ge=0, le=1)
    """Share of rows that may fail."""
    tolerate: bool = False
    """Report a failure and go on."""


class NoEmptyTurns(Tolerant):
    """Every turn says or calls something."""

    type: Literal["no_empty_turns"] = "no_empty_turns"

    def faults(self, rows: Sequence[Row]) -> Iterator[Fault]:
        """Yield rows with an empty turn."""
        for row in rows:
            for number, message in enumerate(row["messages"]):
                if not (message.get("content") or "").strip() and not message.get("tool_calls"):
                    yield row["id"], f"message {number} ({message['role']}) is empty"
                    break


class Length(Tolerant):
    """Texts are neither too short nor too long."""

    type: Literal["length"] = "length"
    of: Part = "answers"
    """Which texts of a row are counted together."""
    min_words: int = Field(1, ge=0)
    """Words that a row needs."""
    max_words: int | None = Field(None, ge=1)
    """Words that a row may have."""

    def faults(self, rows: Sequence[Row]) -> Iterator[Fault]:
        """Yield rows outside the bounds; those that say nothing but calls are passed over."""
        for row in rows:
            texts = said(row, self.of)
            count = sum(len(text.split()) for text in texts)
            if texts and (count < self.min_words or (self.max_words is not None and count > self.max_words)):
                yield row["id"], f"{count} words"


class Balance(Tolerant):
    """No class is too large or too small."""

    type: Literal["balance"] = "balance"
    by: str = "label"
    """What the classes are: label, or the key of a tag."""
    min_class: float = Field(0.0, ge=0, le=1)
    """Least share of every class."""
    max_class: float = Field(1.0, gt=0, le=1)
    """Largest share of any class."""
    expected: tuple[str, ...] = ()
    """Classes that have to be there."""

    def faults(self, rows: Sequence[Row]) -> Iterator[Fault]:
        """Yield the classes whose share is out of bounds; rows without a class do not count."""
        counts = Counter(found for row in rows if (found := value_of(row, self.by)))
        counts.update(dict.fromkeys(self.expected, 0))
        for name, count in sorted(counts.items()):
            share = count / max(1, counts.total())
            if not self.min_class <= share <= self.max_class or (not count and name in self.expected):
                yield f"{self.by}:{name}", f"{share:.1%} of {counts.total():,}"


class Duplicates(Tolerant):
    """No row is nearly another one."""

    type: Literal["duplicates"] = "duplicates"
    threshold: float = Field(0.8, gt=0, le=1)
    """Jaccard similarity of word 5-grams from which two rows are the same."""
    across: bool = False
    """Count only those whose like is in another split."""

    def faults(self, rows: Sequence[Row]) -> Iterator[Fault]:
        """Yield rows with a like; a row that the mix shows again is no other row."""
        from src.text.clusters import clusters
        from src.text.minhash import shingle_hashes
        from src.text.normalise import normalise

        once = [row for row in rows if "~" not in row["id"].rpartition("#")[2]]
        calls = [" ".join(str(call["function"]) for m in row["messages"] for call in m.get("tool_calls") or ()) for row in once]
        texts = [normalise("\n".join([*said(row, "requests"), *said(row, "answers"), call])) for row, call in zip(once, calls, strict=True)]
        order = sorted(range(len(once)), key=lambda place: (texts[place], once[place]["id"]))
        found = clusters([shingle_hashes(texts[place]) for place in order], threshold=self.threshold)
        groups: dict[int, list[Row]] = defaultdict(list)
        for number, place in enumerate(order):
            groups[found.root(number)].append(once[place])
        for group in groups.values():
            if len(group) > 1 and (not self.across or len({row["split"] for row in group}) > 1):
                yield from ((row["id"], f"like {group[0]['id']}") for row in group[1:])


class Pii(Tolerant):
    """No personal data: addresses of mail, phone numbers, cards, accounts, addresses of machines."""

    type: Literal["pii"] = "pii"
    kinds: tuple[Literal["email", "phone", "card", "iban", "ip"], ...] = ("email", "phone", "card", "iban", "ip")
    """What is looked for."""
    of: Part = "all"
    """Which texts of a row are looked at."""

    def faults(self, rows: Sequence[Row]) -> Iterator[Fault]:
        """Yield rows with personal data, without repeating it."""
        from src.build.personal import personal

        for row in rows:
            if found := sorted({kind for text in said(row, self.of) for kind in personal(text)} & set(self.kinds)):
                yield row["id"], ", ".join(found)


class Languages(Tolerant):
    """Only these languages."""

    type: Literal["languages"] = "languages"
    allowed: tuple[str, ...] = Field(("en",), min_length=1)
    """ISO codes."""
    of: Part = "answers"
    """Which texts of a row are looked at."""
    min_words: int = Field(5, ge=1)
    """Shorter texts are passed over: too little to tell."""

    def faults(self, rows: Sequence[Row]) -> Iterator[Fault]:
        """Yield rows in other languages."""
        from src.text.language import base, detect

        allowed = {base(code) for code in self.allowed}
        for row in rows:
            text = "\n".join(said(row, self.of))
            if len(text.split()) >= self.min_words and (found := detect(text))[0] not in allowed:
                yield row["id"], f"{found[0]} ({found[1]:.2f})"


class Tagged(Tolerant):
    """Every row has a tag of this key."""

    type: Literal["tagged"] = "tagged"
    key: str
    """label, or the key of a tag: persona, tone, domain, source, device."""
    allowed: tuple[str, ...] = ()
    """Values that it may have; any where empty."""

    def faults(self, rows: Sequence[Row]) -> Iterator[Fault]:
        """Yield rows without the tag, or with another value."""
        for row in rows:
            value = value_of(row, self.key)
            if not value or (self.allowed and value not in self.allowed):
                yield row["id"], f"{self.key} is {value!r}" if value else f"no {self.key}"


class Rows(Tolerant):
    """Each split has enough rows."""

    type: Literal["rows"] = "rows"
    least: int = Field(1, ge=1)
    """Rows that each split needs."""

    def faults(self, rows: Sequence[Row]) -> Iterator[Fault]:
        """Yield the splits that are too small."""
        counts = Counter(row["split"] for row in rows)
        yield from ((split, f"{counts[split]:,} rows") for split in self.splits if counts[split] < self.least)


class Phrases(Tolerant):
    """No text says this, such as “as an AI language model”."""

    type: Literal["phrases"] = "phrases"
    patterns: tuple[str, ...] = Field(min_length=1)
    """Regular expressions, whatever the case."""
    of: Part = "answers"
    """Which texts of a row are looked at."""

    @model_validator(mode="after")
    def patterns_are_regular_expressions(self) -> Self:
        """Compile them once."""
        for pattern in self.patterns:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"{pattern!r} is no regular expression: {error}") from None
        return self

    def faults(self, rows: Sequence[Row]) -> Iterator[Fault]:
        """Yield rows that say it."""
        wanted = re.compile("|".join(f"(?:{each})" for each in self.patterns), re.IGNORECASE)
        for row in rows:
            if found := next((match for text in said(row, self.of) if (match := wanted.search(text))), None):
                yield row["id"], f"“{found.group()[:60]}”"


class Grounded(Tolerant):
    """An answer that follows a tool's result states no number that stands in no result and in no request."""

    type: Literal["grounded"] = "grounded"

    def faults(self, rows: Sequence[Row]) -> Iterator[Fault]:
        """Yield rows whose answers state other numbers."""
        from src.build.grounded import ungrounded

        for row in rows:
            if found := ungrounded(row["messages"]):
                yield row["id"], ", ".join(found)


Check = Annotated[
    NoEmptyTurns | Length | Balance | Duplicates | Pii | Languages | Tagged | Rows | Phrases | Grounded, Field(discriminator="type")
]


def said(row: Row, part: Part) -> list[str]:
    """Texts of a row, those of its rejected answer included."""
    turns: Iterable[Mapping[str, Any]] = [*row["messages"], *(row.get("rejected") or ())]
    return [message["content"] for message in turns if message["role"] in _ROLES[part] and message.get("content")]
