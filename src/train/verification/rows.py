"""Chooses the held-out conversations on which models are compared, with tools and several turns among them."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from src.core.errors import MlxError
from src.core.files import read_jsonl
from src.core.manifest import Manifest
from src.core.seeds import derive
from src.models.template import Encoded, UnfitError, encode
from src.models.trained import Trained

SPLITS = ("test", "validation", "train")


@dataclass(frozen=True)
class Conversation:
    """A row of the dataset, and how it was trained on."""

    id: str
    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]]
    encoded: Encoded

    @property
    def ids(self) -> list[int]:
        """Token ids."""
        return self.encoded.ids

    @property
    def kind(self) -> tuple[bool, bool]:
        """Whether tools are offered, and whether the assistant speaks more than once."""
        return bool(self.tools), sum(message["role"] == "assistant" for message in self.messages) > 1


@dataclass(frozen=True)
class Chosen:
    """The rows to compare on."""

    split: str
    rows: list[Conversation]
    left_out: dict[str, int]
    """Rows that were looked at and cannot be compared, by reason."""

    def words(self) -> str:
        """How many, and of what kind."""
        tools, turns = sum(row.kind[0] for row in self.rows), sum(row.kind[1] for row in self.rows)
        text = f"{len(self.rows)} rows of {self.split}, {tools} with tools, {turns} of several turns"
        return text + "".join(f", {count} left out ({reason})" for reason, count in self.left_out.items())


def choose(trained: Trained, tokenizer: Any, *, rows: int, seed: int, longest: int) -> Chosen:
    """Draw `rows` rows of the dataset that `trained` was trained on, of each kind in turn, the same ones for the same seed.

    Args:
        trained: The training.
        tokenizer: Its tokenizer.
        rows: Most rows.
        seed: Of the draw.
        longest: Most tokens in a row; longer ones are left out and counted.

    Raises:
        MlxError: Where the dataset is gone, or no row fits.
    """
    split, examples = _held_out(dataset(trained))
    examples.sort(key=lambda row: derive(seed, "verify", row["id"]))
    left_out: Counter[str] = Counter()
    found: dict[tuple[bool, bool], list[Conversation]] = defaultdict(list)
    for row in examples:
        made = _conversation(row, tokenizer, longest)
        if isinstance(made, str):
            left_out[made] += 1
        elif len(found[made.kind]) < rows:
            found[made.kind].append(made)
    drawn = list(_in_turn(found[kind] for kind in sorted(found, reverse=True)))[:rows]
    if not drawn:
        raise MlxError(f"none of the {len(examples)} rows of {split} can be compared: {dict(left_out)}", "look at the dataset's card.md")
    return Chosen(split, drawn, dict(left_out))


def dataset(trained: Trained) -> Path:
    """The folder of the dataset that `trained` was trained on."""
    return Path(Manifest.read(trained.folder).inputs["dataset"][0].path)


def _held_out(folder: Path) -> tuple[str, list[dict[str, Any]]]:
    for split in SPLITS:
        path = folder / f"{split}.jsonl"
        if path.exists() and (rows := list(read_jsonl(path))):
            return split, rows
    raise MlxError(f"the dataset {folder} is gone, so there is nothing to compare on", "make it with `mlx build`")


def _conversation(row: dict[str, Any], tokenizer: Any, longest: int) -> Conversation | str:
    tools = row.get("tools") or []
    try:
        encoded = encode(tokenizer, row["messages"], tools)
    except UnfitError as error:
        return error.fault.reason
    return Conversation(row["id"], row["messages"], tools, encoded) if 1 < len(encoded.ids) <= longest else "too_long"


def _in_turn(groups: Iterable[Sequence[Conversation]]) -> Iterator[Conversation]:
    for row in zip_longest(*groups):
        yield from (each for each in row if each is not None)
