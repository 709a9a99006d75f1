"""Measure the loss on rows the training does not see: per learned token over all of them, whatever the batches."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from src.core.files import write_jsonl
from src.train.ranks import gathered, rank, world
from src.train.rows import IGNORED, Row

_SOURCES = 12  # more curves than that tell nobody anything


@dataclass(frozen=True, slots=True)
class RowLoss:
    """How likely a model finds a row."""

    row: Row
    nats: float
    """Negative log-likelihood of its learned tokens together."""
    tokens: int
    """How many they are."""

    @property
    def mean(self) -> float:
        """Nats per learned token."""
        return self.nats / self.tokens


def heldout(model: Any, rows: Sequence[Row], *, most_tokens: int, pad: int) -> list[RowLoss]:
    """Measure each row.

    Args:
        model: A model with TRL's fused LM head, which never builds the logits.
        rows: The held-out rows.
        most_tokens: Size of the largest batch, padding included.
        pad: The token id that fills short rows.
    """
    every = list(batches(rows, most_tokens))
    own: list[tuple[int, list[float], list[int]]] = []
    with frozen(model):
        for number in range(rank(), len(every) + -len(every) % world(), world()):  # as many passes in each process
            made = model(**padded(every[number % len(every)], pad, model.device), use_cache=False, fused_lm_head=True)
            nats = -(made.log_probs.double() * made.label_mask).sum(1)
            own.append((number, nats.tolist(), made.label_mask.sum(1).tolist()))
    found = sorted(each for each in gathered(own) if each[0] < len(every))
    return [loss for number, nats, tokens in found for loss in map(RowLoss, every[number], nats, tokens)]


def as_figures(found: Sequence[RowLoss]) -> dict[str, float]:
    """`validation_loss` per learned token, and the same for each source where there are several."""
    figures = {"validation_loss": _mean(found)}
    by_source: dict[str, list[RowLoss]] = defaultdict(list)
    for each in found:
        by_source[each.row.source].append(each)
    if 1 < len(by_source) <= _SOURCES:
        figures |= {f"validation_loss/{source or 'other'}": _mean(by_source[source]) for source in sorted(by_source)}
    return figures


def write_losses(path: Path, found: Iterable[RowLoss]) -> None:
    """Write the loss of each row, the worst first."""
    path.parent.mkdir(exist_ok=True)
    worst = sorted(found, key=lambda each: (-each.mean, each.row.id))
    write_jsonl(
        path, ({"id": each.row.id, "loss": round(each.mean, 4), "tokens": each.tokens, "source": each.row.source} for each in worst)
    )


def _mean(found: Sequence[RowLoss]) -> float:
    return sum(each.nats for each in found) / sum(each.tokens for each in found)


@contextmanager
def frozen(model: Any) -> Iterator[None]:
    """Compute without gradients and dropout in the block."""
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(training)


def log_probs(model: Any, **inputs: Any) -> torch.Tensor:
    """Log-probability of each learned token, in the order of the tokens."""
    found = model(**inputs, use_cache=False, fused_lm_head=True)
    return found.log_probs[found.label_mask].float()


def batches(rows: Sequence[Row], most_tokens: int) -> Iterator[list[Row]]:
    """Group rows of about one length into batches of at most `most_tokens`, padding included."""
    batch: list[Row] = []
    for row in sorted(rows, key=lambda row: -len(row.ids)):
        if batch and len(batch[0].ids) * (len(batch) + 1) > most_tokens:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def padded(rows: Sequence[Row], pad: int, device: Any) -> dict[str, torch.Tensor]:
    """Rows as one batch, filled up on the right."""
    longest = max(len(row.ids) for row in rows)

    def filled(values: Sequence[int], filler: int) -> list[int]:
        return [*values, *[filler] * (longest - len(values))]

    return {
        "input_ids": torch.tensor([filled(row.ids, pad) for row in rows], device=device),
        "attention_mask": torch.tensor([filled([1] * len(row.ids), 0) for row in rows], device=device),
        "labels": torch.tensor([filled(row.labels, IGNORED) for row in rows], device=device),
    }
