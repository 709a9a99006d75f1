"""Held-out rows as every model on disk will see them; what one cannot take none is asked, so that all answer the same."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from src.core.errors import MlxError
from src.core.ledger import Drop
from src.core.records import Example
from src.core.run import Run
from src.eval.cases import Case, cases, group, is_besides
from src.models.template import Encoded, UnfitError, encode, prompt_ids


class Coder(Protocol):
    """What turns rows into tokens."""

    @property
    def tokenizer(self) -> Any:
        """With its chat template."""

    @property
    def context(self) -> int:
        """Most tokens of a row."""


@dataclass
class Coded:
    """Rows as tokens of one model."""

    prompts: dict[str, list[int]] = field(default_factory=dict)
    """By case."""
    encoded: dict[str, Encoded] = field(default_factory=dict)
    """By example."""


@dataclass
class Held:
    """The rows that all models are asked about."""

    cases: list[Case] = field(default_factory=list)
    coded: list[Coded] = field(default_factory=list)
    """In the order of the coders."""
    bytes_of: dict[str, int] = field(default_factory=dict)
    """UTF-8 bytes of what the assistant said, by example that has a likelihood."""
    places: dict[str, tuple[str, tuple[str, ...]]] = field(default_factory=dict)
    """Group and tags, by example."""

    def without(self, unanswered: Mapping[str, str]) -> list[Drop]:
        """Take out the examples of the cases that a model left unanswered; return them with the reason."""
        gone: dict[str, str] = {}
        for case in self.cases:
            if case.id in unanswered:
                gone.setdefault(case.example, unanswered[case.id])
        self.cases = [case for case in self.cases if case.example not in gone]
        for name in gone:
            del self.places[name]
            self.bytes_of.pop(name, None)
        return [Drop(name, "unanswered", why) for name, why in gone.items()]


def hold(run: Run, examples: Iterable[Example], coders: Sequence[Coder], documents: Mapping[str, str]) -> Held:
    """Encode the rows for each coder; what a template or a context cannot take goes into the ledger."""
    held = Held(coded=[Coded() for _ in coders])
    for example in examples:
        if drop := _hold_one(held, example, group(example, documents), coders):
            run.ledger.drop(drop)
    if not held.cases:
        raise nothing_left(run)
    return held


def nothing_left(run: Run) -> MlxError:
    """That no row can be measured, and why."""
    reasons = ", ".join(f"{reason} {count}" for reason, count in run.ledger.counts()["reasons"].items())
    return MlxError(f"none of {run.ledger.read} rows can be measured: {reasons}", f"look at {run.ledger.path.name}, then build again")


def _hold_one(held: Held, example: Example, place: str, coders: Sequence[Coder]) -> Drop | None:
    name, turns = example["id"], list(cases(example, place))
    if name in held.places:
        return Drop(name, "duplicate_id")
    found: list[Coded] = []
    for coder in coders:
        coded = _coded(example, turns, coder)
        if isinstance(coded, Drop):
            return coded
        found.append(coded)
    for into, coded in zip(held.coded, found, strict=True):
        into.prompts |= coded.prompts
        into.encoded |= coded.encoded
    if encoded := found[0].encoded.get(name):
        spoken = [token for token, counts in zip(encoded.ids, encoded.mask, strict=True) if counts]
        held.bytes_of[name] = len(coders[0].tokenizer.decode(spoken, skip_special_tokens=True).encode())
    held.cases += turns
    held.places[name] = (place, tuple(example.get("tags") or ()))
    return None


def _coded(example: Example, turns: Sequence[Case], coder: Coder) -> Coded | Drop:
    name, tools = example["id"], example.get("tools") or []
    try:
        prompts = {turn.id: prompt_ids(coder.tokenizer, turn.history, tools) for turn in turns}
        encoded = None if is_besides(example) else encode(coder.tokenizer, example["messages"], tools)
    except UnfitError as error:
        return Drop(name, error.fault.reason, error.fault.detail)
    if not turns or (encoded and not any(encoded.mask)):
        return Drop(name, "no_assistant_turn")
    longest = max(map(len, [*prompts.values(), *([encoded.ids] if encoded else [])]))
    if longest > coder.context:
        return Drop(name, "too_long", f"{longest} tokens, and the model's context is {coder.context}")
    return Coded(prompts, {name: encoded} if encoded else {})
