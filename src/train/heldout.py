"""Measure the loss on rows the training does not see: per learned token over all of them, whatever the batches."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from src.train.ranks import rank, summed, world
from src.train.rows import IGNORED, Row


def heldout_loss(model: Any, rows: Sequence[Row], *, most_tokens: int, pad: int) -> float:
    """Mean negative log-likelihood, in nats per learned token.

    Args:
        model: A model with TRL's fused LM head, which never builds the logits.
        rows: The held-out rows.
        most_tokens: Size of the largest batch, padding included.
        pad: The token id that fills short rows.
    """
    total, count = 0.0, 0
    every = list(batches(rows, most_tokens))
    with frozen(model):
        for number in range(rank(), len(every) + -len(every) % world(), world()):  # each process as many passes as the others
            scores = log_probs(model, **padded(every[number % len(every)], pad, model.device))
            if number < len(every):
                total -= float(scores.double().sum())
                count += scores.numel()
    total, count_ = summed([total, count])
    return total / count_


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
