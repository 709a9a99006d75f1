"""Turn preferences into token ids: two answers to one prompt, both checked as any conversation is, none cut."""

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from src.core.errors import MlxError
from src.core.files import read_jsonl
from src.core.ledger import Drop
from src.core.run import Run
from src.models.conversation import Fault
from src.models.template import examine, prompt_ids
from src.train.rows import source_of


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer with its prompt before it."""

    ids: "array[int]"
    mask: "array[int]"
    """1 at each token of the answer that the assistant says."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two answers to one prompt."""

    id: str
    chosen: Answer
    rejected: Answer
    source: str


def read_pairs(run: Run, tokenizer: PreTrainedTokenizerBase, split: str, *, longest: int) -> list[Pair]:
    """Read `split`_preferences.jsonl of the dataset; pairs that cannot be learned go to the ledger.

    Raises:
        MlxError: Where the training split has no such file.
    """
    path = run.input("dataset").path / f"{split}_preferences.jsonl"
    if not path.exists():
        if split != "train":
            return []
        raise MlxError(f"{path} is missing", "add a source of type preferences to build.sources, and run `mlx build`")
    pairs: list[Pair] = []
    for item in run.progress(_pairs(path, tokenizer, longest), unit="pair", desc=f"tokens of {split}"):
        if isinstance(item, Drop):
            run.ledger.drop(item)
        else:
            run.ledger.keep()
            pairs.append(item)
    return pairs


def _pairs(path: Path, tokenizer: PreTrainedTokenizerBase, longest: int) -> Iterator[Pair | Drop]:
    for row in read_jsonl(path):
        tools = row.get("tools") or []
        answers: dict[str, Answer] = {}
        for side in ("chosen", "rejected"):
            found = examine(tokenizer, {"messages": [*row["prompt"], *row[side]], "tools": tools}, max_tokens=longest)
            if isinstance(found, Fault):
                yield Drop(row["id"], found.reason, f"{side}: {found.detail}", row)
                break
            start = len(prompt_ids(tokenizer, row["prompt"], tools))
            answers[side] = Answer(array("i", found.ids), array("i", [0] * start + found.mask[start:]))
        else:
            if answers["chosen"].ids == answers["rejected"].ids:
                yield Drop(row["id"], "same_answers", "chosen and rejected are the same tokens", row)
            else:
                yield Pair(row["id"], answers["chosen"], answers["rejected"], source_of(row.get("tags") or ()))


def as_columns(pairs: Sequence[Pair]) -> dict[str, list[Any]]:
    """Return what `collate` reads."""
    return {
        f"{side}_{name}": [list(getattr(getattr(pair, side), name)) for pair in pairs]
        for side in ("chosen", "rejected")
        for name in ("ids", "mask")
    }


class Collator:
    """Makes a batch as TRL's DPOTrainer wants it: the chosen answers, then the rejected ones, filled up on the right."""

    def __init__(self, pad: int) -> None:
        self.pad = pad

    def __call__(self, features: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Return `input_ids`, `attention_mask`, `completion_mask`, each (2 × pairs, tokens), and the reference's sums where known."""
        sides = ("chosen", "rejected")
        rows = [(row[f"{side}_ids"], row[f"{side}_mask"]) for side in sides for row in features]
        longest = max(len(ids) for ids, _ in rows)
        batch = {
            "input_ids": torch.tensor([[*ids, *[self.pad] * (longest - len(ids))] for ids, _ in rows]),
            "attention_mask": torch.tensor([[1] * len(ids) + [0] * (longest - len(ids)) for ids, _ in rows]),
            "completion_mask": torch.tensor([[*mask, *[0] * (longest - len(mask))] for _, mask in rows]),
        }
        for name in ("ref_chosen_logps", "ref_rejected_logps"):
            if name in features[0]:
                batch[name] = torch.tensor([row[name] for row in features])
        return batch
