"""Make sure, before training, that rows packed into one sequence do not see each other."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from src.core.errors import MlxError
from src.train.heldout import frozen, log_probs

EXACT, ROUNDED = 1e-3, 0.08
"""Largest mean difference of a token's log-probability: in fp32, and where bf16 or int8 round (measured: 0.014 in bf16)."""


def check_packing(
    model: Any, collate: Callable[[list[Any]], Mapping[str, Any]], packed: Sequence[Mapping[str, Any]], *, tolerance: float
) -> float:
    """Compare the log-probabilities of a packed sequence with those of its rows alone; return the mean difference.

    The attention mask of a packed batch lives in its position ids alone. With a cache, or with a mask of ones, the same
    batch attends across its rows, and nothing warns: the loss is merely a bit lower.

    Raises:
        MlxError: Where the difference is over `tolerance`.
    """
    sequence = max(packed, key=lambda each: len(each["seq_lengths"]))
    batch = {name: each.to(model.device) if torch.is_tensor(each) else each for name, each in collate([dict(sequence)]).items()}
    with frozen(model):
        together = log_probs(model, **batch)
        alone = torch.cat([log_probs(model, **row) for row in _rows(sequence, model.device)])
    difference = float((together - alone).abs().mean())
    if not difference <= tolerance:
        raise MlxError(
            f"rows packed into one sequence see each other with {type(model).__name__}: log-probabilities differ by {difference:.4f}"
            f" from those of the rows alone, over {tolerance}",
            "set train.packing to false",
        )
    return difference


def efficiency(packed: Sequence[Mapping[str, Any]], sequence_length: int) -> float:
    """Share of the places in the packed sequences that hold a token."""
    return sum(sum(each["seq_lengths"]) for each in packed) / (len(packed) * sequence_length)


def _rows(sequence: Mapping[str, Any], device: Any) -> list[dict[str, torch.Tensor]]:
    ids = torch.tensor(sequence["input_ids"], device=device).split(list(sequence["seq_lengths"]))
    labels = torch.tensor(sequence["labels"], device=device).split(list(sequence["seq_lengths"]))
    return [{"input_ids": one[None], "labels": other[None]} for one, other in zip(ids, labels, strict=True)]
