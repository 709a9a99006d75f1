"""Examples from the persona's own texts: passages to be continued, or to be told on request."""

import random
from collections.abc import Iterable, Iterator
from typing import Any, Literal

from pydantic import Field

from src.build.candidate import Candidate, Measure
from src.build.cut import Passage, TooLong, cut, joined
from src.build.instructions import Instructions, continuation
from src.build.tags import Key, tags_of
from src.core.config import Config
from src.core.ledger import Drop
from src.core.records import Record
from src.core.seeds import derive

Shape = Literal["continuation", "instruction"]
_OPENING = 0.2  # share of a passage that a continuation is given as its opening


class Passages(Config):
    """Passages of the persona's records, cut at the ends of paragraphs and sentences."""

    type: Literal["passages"] = "passages"
    tokens: int = Field(512, ge=16)
    """Tokens of a passage at most: exact where build.tokenizer names one, else an estimate within about 10 %."""
    shapes: tuple[Shape, ...] = Field(("continuation", "instruction"), min_length=1)
    """What the passages become, in turn: the rest of an opening, or the answer to an instruction."""
    min_words: int = Field(40, ge=1)
    """Passages of fewer words are dropped."""
    limit: int | None = Field(None, ge=1)
    """Passages at most, drawn evenly from all documents."""
    name: str | None = None
    """What the mix and the card call this source; its type where nothing is said."""
    tags: dict[Key, str] = Field(default_factory=dict)
    """Tags of every passage, such as {tone: dry}, over those in the record's meta."""

    def examples(self, records: Iterable[Record], *, measure: Measure, seed: int) -> Iterator[Candidate | Drop]:
        """Yield the examples of `records`, and the passages that are none."""
        found = (item for record in records for item in self.of_record(record, measure, seed))
        if self.limit is None:
            yield from found
            return
        items = list(found)
        names = sorted((derive(seed, "passages", c.example["id"]), c.example["id"]) for c in items if isinstance(c, Candidate))
        chosen = {name for _, name in names[: self.limit]}
        for item in items:
            within = isinstance(item, Drop) or item.example["id"] in chosen
            yield item if within or isinstance(item, Drop) else Drop(item.example["id"], "over_limit", f"limit {self.limit}")

    def of_record(self, record: Record, measure: Measure, seed: int) -> Iterator[Candidate | Drop]:
        """Yield the examples of one record."""
        pieces = list(cut(record.text, budget=self.tokens, measure=measure))
        texts = [piece.text for piece in pieces if isinstance(piece, Passage)]
        instructions = Instructions(texts, str(record.meta.get("title") or ""))
        if not pieces:
            yield Drop(f"{record.id}#0", "no_passage", "no sentence of prose was found")
        for number, piece in enumerate(pieces):
            name = f"{record.id}#{number}"
            words = len(piece.text.split())
            if isinstance(piece, TooLong):
                yield Drop(name, "sentence_too_long", f"{piece.tokens} tokens, over {self.tokens}", {"text": piece.text})
            elif words < self.min_words:
                yield Drop(name, "too_short", f"{words} words, under {self.min_words}", {"text": piece.text})
            else:
                chance = random.Random(derive(seed, name))
                yield self._candidate(record, name, piece, self._shape(number, piece), instructions, chance)

    def _shape(self, number: int, passage: Passage) -> Shape:
        shape = self.shapes[number % len(self.shapes)]
        return shape if len(passage.sentences) > 1 else "instruction"

    def _candidate(
        self, record: Record, name: str, passage: Passage, shape: Shape, instructions: Instructions, chance: random.Random
    ) -> Candidate:
        if shape == "continuation":
            at = _opening(passage)
            ask = continuation(joined(passage.sentences[:at]), chance)
            answer = joined(passage.sentences[at:])
        else:
            ask = instructions.instruction(passage.text, passage.sentences[0].text, chance)
            answer = passage.text
        about = {key: value for key, value in record.meta.items() if key in ("persona", "tone", "domain", "device")}
        messages: list[dict[str, Any]] = [{"role": "user", "content": ask}, {"role": "assistant", "content": answer}]
        return Candidate(
            {
                "id": name,
                "messages": messages,
                "tools": [],
                "label": record.meta.get("label"),
                "tags": ["source:passages", f"shape:{shape}", *tags_of(about, self.tags)],
                "sources": [record.id],
            },
            key=str(record.meta.get("source") or record.id),
            licence=None if record.meta.get("licence") is None else str(record.meta["licence"]),
        )


def _opening(passage: Passage) -> int:
    """How many sentences are given away: a fifth of the passage, but never all."""
    lengths = [len(one.text) for one in passage.sentences]
    for at in range(1, len(lengths)):
        if sum(lengths[:at]) >= _OPENING * sum(lengths):
            return at
    return len(lengths) - 1
